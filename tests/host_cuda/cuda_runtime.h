/* As much of CUDA's runtime as cuda/ uses, on the CPU: `make host-cuda-check` compiles the .cu
 * files as C++ against this header and runs their tests on machines without a GPU.
 *
 * A launch runs its kernel once a "thread", one after the other; DN_HOST_CUDA_REVERSE=1 in the
 * environment runs them backwards, and kernels that write what belongs to another thread give other
 * results. The threads of a block that meet at __syncthreads() are contexts of their own, each run
 * up to there before any goes on. Device memory is out of the host's reach (devices.h), and with
 * DN_HOST_CUDA_LATE=1 work is done as late as CUDA allows (queues.h). What this cannot show: errors
 * of nvcc's code, of launch sizes, races between two meetings.
 */
#ifndef DN_TESTS_HOST_CUDA_RUNTIME_H
#define DN_TESTS_HOST_CUDA_RUNTIME_H

#include "queues.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <tuple>
#include <vector>

#include <ucontext.h>

#define __global__
#define __device__
#define __host__
#define __shared__ static thread_local
#define DN_UNROLL

/* Small, so that small tests meet sums of several parts and convolutions of several slices. */
#define DN_SUM_PART          8
#define DN_CONV_SLICE_FLOATS 2048
#define DN_CONV_SMALL_PIXELS 45

struct dn_host_dim {
    unsigned x, y, z;
};

inline thread_local dn_host_dim gridDim, blockDim, blockIdx, threadIdx;

static inline bool dn_host_reverse()
{
    static const bool reverse = std::getenv("DN_HOST_CUDA_REVERSE") != nullptr;
    return reverse;
}

/* Block `number` of the grid, or the number-th from the end. */
static inline void dn_host_at(unsigned number, unsigned thread)
{
    const unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
    const unsigned b = dn_host_reverse() ? blocks - 1 - number : number;
    blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
    threadIdx.x = dn_host_reverse() ? blockDim.x - 1 - thread : thread;
}

/* ---- Asking for work: done at once or, while a graph is captured, whenever it is launched ---- */

struct dn_host_graph {
    std::vector<std::function<void()>> work;
};

inline dn_host_graph *&dn_host_capture() /* one for all files */
{
    static thread_local dn_host_graph *graph = nullptr;
    return graph;
}

template <typename Work> static inline void dn_host_ask(Work work)
{
    if (dn_host_capture()) {
        dn_host_capture()->work.push_back(work);
        return;
    }
    const auto open_and_work = [work] {
        const dn_host_access open;
        work();
    };
    if (dn_host_late())
        dn_host_put_off(open_and_work);
    else
        open_and_work();
}

template <typename Kernel> static inline void dn_host_threads(Kernel kernel)
{
    gridDim = {2, 1, 1}; /* two blocks of three threads: every kernel strides, and meets odd ends */
    blockDim = {3, 1, 1};
    for (unsigned b = 0; b < gridDim.x; b++)
        for (unsigned t = 0; t < blockDim.x; t++) {
            dn_host_at(b, t);
            kernel();
        }
}

/* The kernel with its arguments, which are copied now. */
#define DN_HOST_BOUND(kernel, run, ...)                                                            \
    dn_host_ask([dn_host_args = std::make_tuple(__VA_ARGS__)] {                                    \
        run([&dn_host_args] {                                                                      \
            std::apply([](const auto &...arg) { kernel(arg...); }, dn_host_args);                  \
        });                                                                                        \
    })
#define DN_LAUNCH(kernel, count, ...)                                                              \
    (void)dn_blocks(count), DN_HOST_BOUND(kernel, dn_host_threads, __VA_ARGS__)

/* ---- Blocks whose threads meet ---- */

/* Threads of a block, blocks of a cluster, bytes of a block's shared memory. */
enum {
    DN_HOST_THREADS = 16,
    DN_HOST_BLOCKS = 8,
    DN_HOST_SHARED = 1 << 18,
    DN_HOST_STACK = 1 << 18
};

/* A piece of 16 bytes on its way into shared memory, whose last `zeros` are 0 (cuda_pipeline.h). */
struct dn_host_copy {
    void *to;
    const void *from;
    size_t zeros;
};

/* How a thread stands: it can go on, looks whether something has come (bulk.h), waits for its
 * block's other threads or for those of its cluster's blocks, or has ended. */
enum dn_host_standing {
    DN_HOST_READY,
    DN_HOST_POLLS,
    DN_HOST_BLOCK_MET,
    DN_HOST_CLUSTER,
    DN_HOST_ENDED
};

struct dn_barrier; /* bulk.h */

/* The threads of the blocks that run together, a block's after each other, and where a meeting goes
 * back to. */
struct dn_host_block {
    enum { ALL = DN_HOST_THREADS * DN_HOST_BLOCKS };
    ucontext_t scheduler, threads[ALL];
    dn_host_standing at[ALL];
    unsigned current;
    bool moved;                 /* since this was last looked at, by threads and barriers */
    dn_host_dim first, cluster; /* the cluster's first block, and its size */
    void (*body)(const void *);
    const void *kernel;
    std::vector<std::vector<dn_host_copy>> copies[ALL];
    std::vector<std::vector<std::function<void()>>> products[ALL];         /* warpgroup.h */
    std::map<const dn_barrier *, std::vector<std::function<void()>>> bulk; /* bulk.h */
    alignas(64) char stacks[ALL][DN_HOST_STACK];
    alignas(1024) char shared[DN_HOST_BLOCKS][DN_HOST_SHARED];
};

inline thread_local dn_host_block *dn_host_running; /* one for all files */

/* The shared memory of a block of the cluster; of the one that runs. */
static inline char *dn_host_shared(unsigned block)
{
    return dn_host_running->shared[block];
}

static inline char *dn_host_own_shared()
{
    return dn_host_shared(dn_host_running->current / DN_HOST_THREADS);
}

/* The same place in another block of the cluster. */
template <class T> static inline T *dn_host_there(T *own, unsigned block)
{
    char *at = const_cast<char *>(static_cast<const char *>(static_cast<const void *>(own)));
    return static_cast<T *>(
        static_cast<void *>(dn_host_shared(block) + (at - dn_host_own_shared())));
}

static inline void dn_host_meet(dn_host_standing standing)
{
    dn_host_block *block = dn_host_running;
    block->at[block->current] = standing;
    swapcontext(&block->threads[block->current], &block->scheduler);
}

static inline void __syncthreads()
{
    dn_host_meet(DN_HOST_BLOCK_MET);
}

static inline void dn_host_enter()
{
    dn_host_block *block = dn_host_running;
    block->body(block->kernel);
    block->at[block->current] = DN_HOST_ENDED;
}

static inline void dn_host_go_on(dn_host_block *block, unsigned rank, unsigned thread)
{
    const dn_host_dim size = block->cluster, first = block->first;
    const unsigned i = rank * DN_HOST_THREADS + thread;
    const dn_host_standing before = block->at[i];
    if (before != DN_HOST_READY && before != DN_HOST_POLLS) return;
    blockIdx = {first.x + rank % size.x, first.y + rank / size.x % size.y,
                first.z + rank / size.x / size.y};
    threadIdx.x = thread;
    block->current = i;
    swapcontext(&block->scheduler, &block->threads[i]);
    block->moved = block->moved || before != DN_HOST_POLLS || block->at[i] != DN_HOST_POLLS;
}

/* Lets threads first to last - 1 go on if all of them have met, in which case nobody is ready or
 * polls. */
static inline void dn_host_release(dn_host_block *block, unsigned first, unsigned last,
                                   dn_host_standing met)
{
    for (unsigned i = first; i < last; i++)
        if (block->at[i] != met && block->at[i] != DN_HOST_ENDED) return;
    for (unsigned i = first; i < last; i++) {
        if (block->at[i] != met) continue;
        block->at[i] = DN_HOST_READY;
        block->moved = true;
    }
}

/* The cluster's blocks run together to their end: each thread up to where it waits for others. */
static inline void dn_host_cluster(dn_host_block *block)
{
    const unsigned count = block->cluster.x * block->cluster.y * block->cluster.z;
    for (unsigned i = 0; i < count * DN_HOST_THREADS; i++) {
        block->at[i] = i % DN_HOST_THREADS < blockDim.x ? DN_HOST_READY : DN_HOST_ENDED;
        getcontext(&block->threads[i]);
        block->threads[i].uc_stack.ss_sp = block->stacks[i];
        block->threads[i].uc_stack.ss_size = DN_HOST_STACK;
        block->threads[i].uc_link = &block->scheduler;
        makecontext(&block->threads[i], dn_host_enter, 0);
    }
    do {
        block->moved = false;
        for (unsigned b = 0; b < count; b++)
            for (unsigned t = 0; t < blockDim.x; t++) {
                const unsigned rank = dn_host_reverse() ? count - 1 - b : b;
                dn_host_go_on(block, rank, dn_host_reverse() ? blockDim.x - 1 - t : t);
            }
        for (unsigned b = 0; b < count; b++)
            dn_host_release(block, b * DN_HOST_THREADS, (b + 1) * DN_HOST_THREADS,
                            DN_HOST_BLOCK_MET);
        dn_host_release(block, 0, count * DN_HOST_THREADS, DN_HOST_CLUSTER);
    } while (block->moved);
    for (unsigned i = 0; i < count * DN_HOST_THREADS; i++)
        if (block->at[i] != DN_HOST_ENDED) std::abort(); /* they wait for each other */
}

/* In clusters of this size, which divides the grid. */
template <typename Kernel>
static inline void dn_host_blocks(dn_host_dim grid, unsigned threads, dn_host_dim cluster,
                                  const Kernel &kernel)
{
    const dn_host_dim of = {grid.x / cluster.x, grid.y / cluster.y, grid.z / cluster.z};
    const unsigned clusters = of.x * of.y * of.z;
    if (cluster.x * cluster.y * cluster.z > DN_HOST_BLOCKS || of.x * cluster.x != grid.x ||
        of.y * cluster.y != grid.y || of.z * cluster.z != grid.z)
        std::abort();
    dn_host_block *block = new dn_host_block;
    gridDim = grid;
    blockDim = {threads, 1, 1};
    block->cluster = cluster;
    block->kernel = &kernel;
    block->body = [](const void *made) { (*static_cast<const Kernel *>(made))(); };
    dn_host_running = block;
    for (unsigned i = 0; i < clusters; i++) {
        const unsigned c = dn_host_reverse() ? clusters - 1 - i : i;
        block->first = {c % of.x * cluster.x, c / of.x % of.y * cluster.y,
                        c / of.x / of.y * cluster.z};
        dn_host_cluster(block);
    }
    dn_host_running = nullptr;
    delete block;
}

template <typename Kernel> static inline void dn_host_few_blocks(const Kernel &kernel)
{
    dn_host_blocks({2, 1, 1}, 3, {1, 1, 1}, kernel);
}

#define DN_LAUNCH_BLOCKS(kernel, blocks, ...)                                                      \
    (void)(blocks), DN_HOST_BOUND(kernel, dn_host_few_blocks, __VA_ARGS__)

/* ---- Tiles: kernels whose grid and blocks have a shape, and whose warps work together ---- */

/* A warp is one thread here: what its 32 do together, mma.h does in loops. */
#define DN_WARP 1
#define __launch_bounds__(...)
#define __grid_constant__
#define __syncwarp()            ((void)0)
#define __threadfence()         ((void)0)
#define DN_DYNAMIC_SHARED(name) char *name = dn_host_own_shared()

#define DN_LAUNCH_TILES(kernel, grid, block_threads, bytes, ...)                                   \
    dn_host_ask([dn_host_args = std::make_tuple(__VA_ARGS__), dn_host_grid = (grid)] {             \
        static_assert((bytes) <= DN_HOST_SHARED && (block_threads) <= DN_HOST_THREADS,             \
                      "too large");                                                                \
        dn_host_blocks(dn_host_grid, block_threads, {1, 1, 1},                                     \
                       [&dn_host_args] { std::apply(kernel, dn_host_args); });                     \
    })

static inline int atomicAdd(int *value, int more)
{
    const int before = *value;
    *value = before + more;
    return before;
}

#include "follow.h"

struct dim3 : dn_host_dim {
    dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : dn_host_dim{x_, y_, z_} {}
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

#define __expf(x)        std::exp(x) /* glibc has an __expf of its own */
#define __fdividef(a, b) ((a) / (b))

/* ---- The runtime ---- */

enum cudaError_t {
    cudaSuccess,
    cudaErrorInvalidValue,
    cudaErrorMemoryAllocation,
    cudaErrorNotReady,
    cudaErrorStreamCaptureUnsupported
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
typedef const dn_host_stream *cudaStream_t;
inline constexpr cudaStream_t cudaStreamPerThread = nullptr;
enum { cudaEventDisableTiming, cudaStreamNonBlocking };
typedef dn_host_event *cudaEvent_t;

static inline const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaSuccess             ? "no error"
           : error == cudaErrorInvalidValue ? "invalid argument"
           : error == cudaErrorMemoryAllocation
               ? "out of memory"
               : "operation not permitted when stream is capturing";
}

static inline cudaError_t cudaGetLastError()
{
    return cudaSuccess;
}

static inline cudaError_t cudaGetDeviceCount(int *count)
{
    *count = DN_HOST_DEVICES;
    return cudaSuccess;
}

static inline cudaError_t cudaGetDevice(int *device)
{
    *device = dn_host_current();
    return cudaSuccess;
}

static inline cudaError_t cudaSetDevice(int device)
{
    dn_host_current() = device;
    return cudaSuccess;
}

static inline cudaError_t cudaMemGetInfo(size_t *unused, size_t *all)
{
    *unused = *all = (size_t)8 << 30;
    return cudaSuccess;
}

static inline cudaError_t cudaMalloc(void **block, size_t bytes)
{
    if (dn_host_capture()) return cudaErrorStreamCaptureUnsupported;
    *block = dn_host_alloc(bytes);
    return *block ? cudaSuccess : cudaErrorMemoryAllocation;
}

static inline cudaError_t cudaFree(void *block)
{
    if (!block) return cudaSuccess; /* without a wait */
    dn_host_drain_all();
    dn_host_free(block);
    return cudaSuccess;
}

enum cudaMemoryType {
    cudaMemoryTypeUnregistered,
    cudaMemoryTypeHost,
    cudaMemoryTypeDevice,
    cudaMemoryTypeManaged
};
struct cudaPointerAttributes {
    cudaMemoryType type;
    int device;
};

static inline cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *found, const void *byte)
{
    found->device = dn_host_device_of(byte);
    found->type = found->device < 0 ? cudaMemoryTypeUnregistered : cudaMemoryTypeDevice;
    return cudaSuccess;
}

static inline cudaError_t cudaMallocHost(void **block, size_t bytes)
{
    *block = std::malloc(bytes);
    return *block ? cudaSuccess : cudaErrorMemoryAllocation;
}

static inline cudaError_t cudaFreeHost(void *block)
{
    dn_host_drain_all();
    std::free(block);
    return cudaSuccess;
}

static inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes,
                                          cudaMemcpyKind kind,
                                          cudaStream_t stream = cudaStreamPerThread)
{
    const dn_host_on on(stream);
    if (bytes == 0) return cudaSuccess;
    if (dn_host_capture()) return cudaErrorStreamCaptureUnsupported;
    const bool to_device = kind != cudaMemcpyDeviceToHost;
    const bool from_device = kind != cudaMemcpyHostToDevice;
    if (dn_host_is_here(to, bytes) != to_device || dn_host_is_here(from, bytes) != from_device)
        return cudaErrorInvalidValue;
    if (kind == cudaMemcpyDeviceToHost) {
        dn_host_to_host().count++;
        dn_host_to_host().bytes += (long)bytes;
    }
    dn_host_ask([=] { std::memcpy(to, from, bytes); });
    return cudaSuccess;
}

static inline cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind);
    if (error == cudaSuccess) dn_host_drain();
    return error;
}

static inline cudaError_t cudaMemsetAsync(void *block, int value, size_t bytes,
                                          cudaStream_t stream = cudaStreamPerThread)
{
    const dn_host_on on(stream);
    if (bytes == 0) return cudaSuccess;
    if (!dn_host_is_here(block, bytes)) return cudaErrorInvalidValue;
    dn_host_ask([=] { std::memset(block, value, bytes); });
    return cudaSuccess;
}

static inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, int)
{
    *stream = new dn_host_stream(std::make_shared<dn_host_queue>());
    const std::lock_guard<std::recursive_mutex> guard(dn_host_every().lock);
    dn_host_every().all.push_back(**stream);
    return cudaSuccess;
}

/* What it was asked for is still done. */
static inline cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    delete stream;
    return cudaSuccess;
}

#define DN_LAUNCH_BLOCKS_ON(stream, kernel, blocks, ...)                                           \
    do {                                                                                           \
        const dn_host_on dn_host_chosen_here(stream);                                              \
        DN_LAUNCH_BLOCKS(kernel, blocks, __VA_ARGS__);                                             \
    } while (0)

/* Nothing may wait, allocate or copy from the host while a graph is captured. */
static inline cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    if (dn_host_capture()) return cudaErrorStreamCaptureUnsupported;
    dn_host_drain();
    return cudaSuccess;
}

/* What this thread's stream has still to do before anything else (nccl.h), each until it is true.
 */
inline std::deque<std::function<bool()>> &dn_host_pending()
{
    static thread_local std::deque<std::function<bool()>> pending;
    return pending;
}

static inline cudaError_t cudaStreamQuery(cudaStream_t)
{
    dn_host_drain();
    while (!dn_host_pending().empty()) {
        if (!dn_host_pending().front()()) return cudaErrorNotReady;
        dn_host_pending().pop_front();
    }
    return cudaSuccess;
}

static inline cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    *event = new dn_host_event;
    return cudaSuccess;
}

/* Anything, so that measurements choose now this form, now that one. */
static inline cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t, cudaEvent_t)
{
    static thread_local unsigned drawn = 1;
    drawn = drawn * 1664525u + 1013904223u;
    *ms = 1.0f + (float)(drawn >> 16) / 65536.0f;
    return cudaSuccess;
}
#define DN_MEASURED_RUNS 0 /* what takes so long here is not run to be measured */

static inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, int)
{
    return cudaEventCreate(event);
}

static inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    const dn_host_on on(stream);
    dn_host_record(event);
    return cudaSuccess;
}

static inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    const dn_host_on on(stream);
    const dn_host_event before = dn_host_recorded(event);
    if (before.stream) dn_host_put_off([before] { dn_host_wait_for(before); });
    return cudaSuccess;
}

static inline cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    dn_host_wait_for(dn_host_recorded(event));
    return cudaSuccess;
}

static inline cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr {
    cudaDevAttrComputeCapabilityMajor,
    cudaDevAttrComputeCapabilityMinor,
    cudaDevAttrMultiProcessorCount,
    cudaDevAttrL2CacheSize,
    cudaDevAttrMaxSharedMemoryPerBlockOptin
};

static inline cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int)
{
    return cudaSuccess;
}

static inline cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    *value = attribute == cudaDevAttrComputeCapabilityMajor   ? 9
             : attribute == cudaDevAttrComputeCapabilityMinor ? 0
             : attribute == cudaDevAttrMultiProcessorCount    ? 132
             : attribute == cudaDevAttrL2CacheSize            ? 4096
                                                              : 227 << 10;
    return cudaSuccess;
}

struct cudaDeviceProp {
    char name[256];
    int multiProcessorCount;
};

static inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    *properties = {"the CPU as a GPU", 132};
    return device < DN_HOST_DEVICES ? cudaSuccess : cudaErrorInvalidValue;
}

static inline cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

static inline cudaError_t cudaDeviceGetPCIBusId(char *bus, int size, int device)
{
    if (size < 13) return cudaErrorInvalidValue;
    std::strcpy(bus, device == 0 ? "0000:1B:00.0" : "0000:1C:00.0");
    return cudaSuccess;
}

/* ---- Graphs ---- */

typedef dn_host_graph *cudaGraph_t, *cudaGraphExec_t;
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };

static inline cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode)
{
    dn_host_capture() = new dn_host_graph;
    return cudaSuccess;
}

static inline cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph)
{
    *graph = dn_host_capture();
    dn_host_capture() = nullptr;
    return *graph ? cudaSuccess : cudaErrorInvalidValue;
}

static inline cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph,
                                                        unsigned long long)
{
    *exec = new dn_host_graph(*graph);
    return cudaSuccess;
}

static inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t)
{
    const dn_host_graph graph = *exec; /* which may be destroyed before it is done */
    dn_host_ask([graph] {
        for (const std::function<void()> &work : graph.work) work();
    });
    return cudaSuccess;
}

/* Not inline: else GCC 12 sees a use behind it where there is none. */
static __attribute__((noinline, unused)) cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

static inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}

#endif
