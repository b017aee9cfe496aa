/* Gradients of several devices added up by NCCL: see sums.h.
 *
 * The library is opened when a training first asks for it: programs that never do need none, and
 * start without its hundreds of megabytes. A block is summed by reduce-scatter and all-gather: each
 * device makes one part of the sum, which the others copy, so that all have the same bits by
 * construction; what does not divide is summed by the first device.
 *
 * A kernel of NCCL waits for the other devices', so a device that fails would stop all. The thread
 * therefore looks, while it waits, for errors and for others that gave up, and aborts what runs.
 *
 * Limits: one process. DARKNET_NCCL=0 in the environment leaves the sums to the host.
 */
#include "sums.h"

#include "launch.h"
#include "library.h"

#include <nccl.h>

#include <dlfcn.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* tests/host_cuda has its own. */
#ifndef DN_NCCL_OPEN
#define DN_NCCL_OPEN()                dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL)
#define DN_NCCL_FIND(library, symbol) dlsym(library, #symbol)
#endif

enum { DN_ALIGNED = 4 }; /* floats of 16 bytes: NCCL's widest access */

/* What is used of the library; NULL where it lacks something. */
typedef struct dn_nccl {
    decltype(&ncclCommInitAll) init_all;
    decltype(&ncclReduceScatter) reduce_scatter;
    decltype(&ncclAllGather) all_gather;
    decltype(&ncclReduce) reduce;
    decltype(&ncclBroadcast) broadcast;
    decltype(&ncclCommGetAsyncError) async_error;
    decltype(&ncclCommAbort) abort;
    decltype(&ncclCommDestroy) destroy;
    decltype(&ncclGetErrorString) error_string;
} dn_nccl;

typedef struct dn_nccl_link {
    const dn_nccl *nccl;
    ncclComm_t comm; /* NULL: aborted */
    int32_t rank, size;
} dn_nccl_link;

/* ---- the library ---- */

#define DN_NCCL_TAKE(member, symbol) dn_take_symbol(nccl->member, DN_NCCL_FIND(library, symbol))

static bool take_all(void *library, dn_nccl *nccl)
{
    return DN_NCCL_TAKE(init_all, ncclCommInitAll) &&
           DN_NCCL_TAKE(reduce_scatter, ncclReduceScatter) &&
           DN_NCCL_TAKE(all_gather, ncclAllGather) && DN_NCCL_TAKE(reduce, ncclReduce) &&
           DN_NCCL_TAKE(broadcast, ncclBroadcast) &&
           DN_NCCL_TAKE(async_error, ncclCommGetAsyncError) && DN_NCCL_TAKE(abort, ncclCommAbort) &&
           DN_NCCL_TAKE(destroy, ncclCommDestroy) && DN_NCCL_TAKE(error_string, ncclGetErrorString);
}

/* Opened once, for good. */
static const dn_nccl *load()
{
    static dn_nccl nccl;
    static const bool loaded = [] {
        void *library = DN_NCCL_OPEN();
        return library && take_all(library, &nccl);
    }();
    return loaded ? &nccl : nullptr;
}

static dn_status check(const dn_nccl *nccl, ncclResult_t result, const char *what)
{
    if (result == ncclSuccess) return DN_OK;
    return dn_fail(DN_ERROR_DEVICE, "NCCL: %s: %s", what, nccl->error_string(result));
}

/* ---- links ---- */

static dn_status open_links(const int32_t *devices, int32_t count, void **links)
{
    const char *wanted = getenv("DARKNET_NCCL");
    if (wanted && strcmp(wanted, "0") == 0)
        return dn_fail(DN_ERROR_DEVICE, "DARKNET_NCCL=0 says so");
    const dn_nccl *nccl = load();
    if (!nccl) return dn_fail(DN_ERROR_DEVICE, "there is no NCCL (libnccl.so.2) to do it");
    ncclComm_t comms[64];
    int current = 0;
    DN_CUDA_TRY(cudaGetDevice(&current));
    const ncclResult_t result = nccl->init_all(comms, count, devices);
    DN_CUDA_TRY(cudaSetDevice(current));
    DN_TRY(check(nccl, result, "ncclCommInitAll"));
    for (int32_t i = 0; i < count; i++) links[i] = new dn_nccl_link{nccl, comms[i], i, count};
    return DN_OK;
}

static void close_link(void *closed, bool broken)
{
    dn_nccl_link *link = (dn_nccl_link *)closed;
    if (link->comm && broken) link->nccl->abort(link->comm);
    if (link->comm && !broken) link->nccl->destroy(link->comm);
    delete link;
}

/* ---- sums ---- */

static dn_status ask(const dn_nccl_link *link, float *block, int64_t count, bool mean)
{
    const dn_nccl *nccl = link->nccl;
    const cudaStream_t stream = cudaStreamPerThread;
    const ncclRedOp_t how = mean ? ncclAvg : ncclSum;
    const size_t part = (size_t)(count / link->size / DN_ALIGNED * DN_ALIGNED);
    const size_t rest = (size_t)count - part * (size_t)link->size;
    float *own = block + part * (size_t)link->rank, *tail = block + part * (size_t)link->size;
    if (part > 0) {
        DN_TRY(check(nccl,
                     nccl->reduce_scatter(block, own, part, ncclFloat, how, link->comm, stream),
                     "ncclReduceScatter"));
        DN_TRY(check(nccl, nccl->all_gather(own, block, part, ncclFloat, link->comm, stream),
                     "ncclAllGather"));
    }
    if (rest > 0) {
        DN_TRY(check(nccl, nccl->reduce(tail, tail, rest, ncclFloat, how, 0, link->comm, stream),
                     "ncclReduce"));
        DN_TRY(check(nccl, nccl->broadcast(tail, tail, rest, ncclFloat, 0, link->comm, stream),
                     "ncclBroadcast"));
    }
    return DN_OK;
}

static dn_status wait_for(const dn_nccl_link *link, bool (*broken)(const void *),
                          const void *context)
{
    for (;;) {
        const cudaError_t done = cudaStreamQuery(cudaStreamPerThread);
        ncclResult_t state = ncclSuccess;
        if (done == cudaSuccess) return DN_OK;
        if (done != cudaErrorNotReady) DN_CUDA_TRY(done);
        DN_TRY(check(link->nccl, link->nccl->async_error(link->comm, &state), "a sum"));
        DN_TRY(check(link->nccl, state, "a sum"));
        if (broken(context)) return dn_fail(DN_ERROR_DEVICE, "NCCL: another device has failed");
        sched_yield();
    }
}

static dn_status sum(void *summed, float *block, int64_t count, bool mean,
                     bool (*broken)(const void *), const void *context)
{
    dn_nccl_link *link = (dn_nccl_link *)summed;
    dn_status status = ask(link, block, count, mean);
    if (status == DN_OK) status = wait_for(link, broken, context);
    if (status == DN_OK) return DN_OK;
    link->nccl->abort(link->comm);
    link->comm = nullptr;
    return status;
}

const dn_device_sums dn_cuda_sums = {"NCCL", open_links, sum, close_link};
