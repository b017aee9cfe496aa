/* As much of NCCL as cuda/ uses, on the CPU: ranks are threads of one process, each with a device
 * of devices.h. As on a GPU an operation is only asked for by a call; it runs piece by piece
 * whenever its thread asks whether its stream is done (cudaStreamQuery), once all ranks have come
 * to it, and never where one does not.
 */
#ifndef DN_TESTS_HOST_NCCL_H
#define DN_TESTS_HOST_NCCL_H

#include "cuda_runtime.h"

enum ncclResult_t { ncclSuccess, ncclUnhandledCudaError, ncclSystemError, ncclInternalError };
enum ncclDataType_t { ncclFloat };
enum ncclRedOp_t { ncclSum, ncclAvg };

/* One operation: what every rank has brought. */
struct dn_host_nccl_deal {
    std::map<int, std::vector<float>> brought;
    int taken = 0;
};

struct dn_host_nccl_group {
    std::mutex lock;
    int size, left;
    std::map<long, dn_host_nccl_deal> deals;
};

struct dn_host_nccl_rank {
    dn_host_nccl_group *group;
    int rank, device;
    long asked;
};
typedef dn_host_nccl_rank *ncclComm_t;

/* A test's wish: rank N's sums fail; -1: none. */
inline std::atomic<int> &dn_host_nccl_failing()
{
    static std::atomic<int> rank{-1};
    return rank;
}

/* Sums that were asked for since the program began. */
inline std::atomic<long> &dn_host_nccl_count()
{
    static std::atomic<long> count{0};
    return count;
}

DN_HOST_EXPORT void dn_host_nccl_fail(int rank)
{
    dn_host_nccl_failing() = rank;
}

DN_HOST_EXPORT long dn_host_nccl_sums()
{
    return dn_host_nccl_count();
}

static inline const char *ncclGetErrorString(ncclResult_t result)
{
    return result == ncclSuccess ? "no error" : "internal error";
}

static inline ncclResult_t ncclCommInitAll(ncclComm_t *comms, int count, const int *devices)
{
    dn_host_nccl_group *group = new dn_host_nccl_group;
    group->size = group->left = count;
    for (int i = 0; i < count; i++) comms[i] = new dn_host_nccl_rank{group, i, devices[i], 0};
    dn_host_current() = devices[count - 1]; /* callers must not rely on it */
    return ncclSuccess;
}

static inline ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    dn_host_pending().clear();
    comm->group->lock.lock();
    const bool last = --comm->group->left == 0;
    comm->group->lock.unlock();
    if (last) delete comm->group;
    delete comm;
    return ncclSuccess;
}

static inline ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    return dn_host_pending().empty() ? ncclCommAbort(comm) : ncclInternalError;
}

static inline ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t *result)
{
    *result = ncclSuccess;
    return ncclSuccess;
}

/* Brings `count` floats, and when all have brought theirs lets `take` make the result of them. */
template <typename Take>
static ncclResult_t dn_host_nccl_ask(ncclComm_t comm, const float *send, size_t count, Take take)
{
    if (comm->rank == dn_host_nccl_failing()) return ncclInternalError;
    if (comm->device != dn_host_current()) return ncclUnhandledCudaError;
    const long number = comm->asked++;
    dn_host_pending().push_back([=, here = false]() mutable {
        dn_host_nccl_group *group = comm->group;
        const std::lock_guard<std::mutex> guard(group->lock);
        const dn_host_access open;
        dn_host_nccl_deal &deal = group->deals[number];
        if (!here) deal.brought[comm->rank].assign(send, send + count);
        here = true;
        if ((int)deal.brought.size() < group->size) return false;
        take(deal.brought);
        if (++deal.taken == group->size) group->deals.erase(number);
        return true;
    });
    return ncclSuccess;
}

typedef std::map<int, std::vector<float>> dn_host_nccl_brought;

/* From the last rank to the first: in another order than the host's ring. */
static inline float dn_host_nccl_add(const dn_host_nccl_brought &brought, size_t i, ncclRedOp_t how)
{
    float total = 0;
    for (auto one = brought.rbegin(); one != brought.rend(); ++one) total += one->second[i];
    return how == ncclAvg ? total / (float)brought.size() : total;
}

static inline ncclResult_t ncclReduceScatter(const void *send, void *to, size_t count,
                                             ncclDataType_t, ncclRedOp_t how, ncclComm_t comm,
                                             cudaStream_t)
{
    dn_host_nccl_count()++;
    const size_t first = count * (size_t)comm->rank, all = count * (size_t)comm->group->size;
    return dn_host_nccl_ask(comm, (const float *)send, all, [=](const dn_host_nccl_brought &of) {
        for (size_t i = 0; i < count; i++) ((float *)to)[i] = dn_host_nccl_add(of, first + i, how);
    });
}

static inline ncclResult_t ncclAllGather(const void *send, void *to, size_t count, ncclDataType_t,
                                         ncclComm_t comm, cudaStream_t)
{
    return dn_host_nccl_ask(comm, (const float *)send, count, [=](const dn_host_nccl_brought &of) {
        for (const auto &one : of)
            std::memcpy((float *)to + count * (size_t)one.first, one.second.data(),
                        count * sizeof(float));
    });
}

static inline ncclResult_t ncclReduce(const void *send, void *to, size_t count, ncclDataType_t,
                                      ncclRedOp_t how, int root, ncclComm_t comm, cudaStream_t)
{
    const bool takes = comm->rank == root;
    dn_host_nccl_count()++;
    return dn_host_nccl_ask(comm, (const float *)send, count, [=](const dn_host_nccl_brought &of) {
        for (size_t i = 0; takes && i < count; i++) ((float *)to)[i] = dn_host_nccl_add(of, i, how);
    });
}

static inline ncclResult_t ncclBroadcast(const void *send, void *to, size_t count, ncclDataType_t,
                                         int root, ncclComm_t comm, cudaStream_t)
{
    const size_t brings = comm->rank == root ? count : 0;
    return dn_host_nccl_ask(comm, (const float *)send, brings, [=](const dn_host_nccl_brought &of) {
        std::memcpy(to, of.at(root).data(), count * sizeof(float));
    });
}

#define DN_NCCL_OPEN()                (void *)ncclCommInitAll
#define DN_NCCL_FIND(library, symbol) ((library) ? (void *)(symbol) : nullptr)

#endif
