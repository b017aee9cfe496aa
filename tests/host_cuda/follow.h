/* Kernels that begin while the one before them still runs, on the CPU: they run in order, and each
 * of their threads has to call dn_await_inputs() (cuda/launch.h), or the program ends. Included by
 * cuda_runtime.h. */
#ifndef DN_TESTS_HOST_CUDA_FOLLOW_H
#define DN_TESTS_HOST_CUDA_FOLLOW_H

#include <cstdio>

inline thread_local unsigned dn_host_awaited; /* calls since the launch */

static inline void dn_await_inputs()
{
    dn_host_awaited++;
}

static inline void dn_release_next() {}

/* Behind a launch, whose grid and blocks are still set. */
static inline void dn_host_check_awaited(const char *kernel)
{
    if (dn_host_awaited >= gridDim.x * gridDim.y * gridDim.z * blockDim.x) return;
    std::fprintf(stderr, "%s follows others without dn_await_inputs() in every thread\n", kernel);
    std::abort();
}

#define DN_FOLLOW(kernel, count, ...)                                                              \
    dn_host_ask([dn_host_args = std::make_tuple(__VA_ARGS__), dn_host_count = (count)] {           \
        (void)dn_blocks(dn_host_count);                                                            \
        dn_host_awaited = 0;                                                                       \
        dn_host_threads([&dn_host_args] {                                                          \
            std::apply([](const auto &...arg) { kernel(arg...); }, dn_host_args);                  \
        });                                                                                        \
        dn_host_check_awaited(#kernel);                                                            \
    })

/* cluster: the size of clusters, a dim3. */
#define DN_FOLLOW_CLUSTERS(kernel, grid, block_threads, bytes, cluster, ...)                       \
    dn_host_ask([dn_host_args = std::make_tuple(__VA_ARGS__), dn_host_grid = (grid),               \
                 dn_host_cluster_size = (cluster)] {                                               \
        static_assert((bytes) <= DN_HOST_SHARED && (block_threads) <= DN_HOST_THREADS,             \
                      "too large");                                                                \
        dn_host_awaited = 0;                                                                       \
        dn_host_blocks(dn_host_grid, block_threads, dn_host_cluster_size,                          \
                       [&dn_host_args] { std::apply(kernel, dn_host_args); });                     \
        dn_host_check_awaited(#kernel);                                                            \
    })
#define DN_FOLLOW_TILES(kernel, grid, block_threads, bytes, ...)                                   \
    DN_FOLLOW_CLUSTERS(kernel, grid, block_threads, bytes, dim3(1), __VA_ARGS__)

#endif
