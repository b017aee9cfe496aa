/* CUDA's asynchronous copies into shared memory, on the CPU: a copy is made when its thread waits
 * for it, not before, so that who forgets to wait reads what was there. */
#ifndef DN_TESTS_HOST_CUDA_PIPELINE_H
#define DN_TESTS_HOST_CUDA_PIPELINE_H

#include "cuda_runtime.h"

/* Copies of the thread that runs, in groups: the last is not committed yet. */
static inline std::vector<std::vector<dn_host_copy>> &dn_host_pieces()
{
    std::vector<std::vector<dn_host_copy>> &groups =
        dn_host_running->copies[dn_host_running->current];
    if (groups.empty()) groups.emplace_back();
    return groups;
}

/* The last `zeros` bytes are 0, and are not read. */
static inline void __pipeline_memcpy_async(void *to, const void *from, size_t bytes,
                                           size_t zeros = 0)
{
    if (bytes != 16 || reinterpret_cast<uintptr_t>(to) % 16 != 0 ||
        reinterpret_cast<uintptr_t>(from) % 16 != 0)
        std::abort();
    dn_host_pieces().back().push_back({to, from, zeros});
}

static inline void __pipeline_commit()
{
    dn_host_pieces().emplace_back();
}

/* Waits for all groups but the last `left`. */
static inline void __pipeline_wait_prior(size_t left)
{
    std::vector<std::vector<dn_host_copy>> &groups = dn_host_pieces();
    while (groups.size() - 1 > left) {
        for (const dn_host_copy &copy : groups.front()) {
            std::memset(copy.to, 0, 16);
            std::memcpy(copy.to, copy.from, 16 - copy.zeros);
        }
        groups.erase(groups.begin());
    }
}

#endif
