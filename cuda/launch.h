/* What every .cu here needs: launching a kernel over a number of elements, and CUDA's errors.
 *
 * A kernel computes elements 0..count-1 with DN_GRID_STRIDE, each by one thread that alone writes
 * what belongs to it (gather, no atomics), so that results depend on neither block size nor order.
 * Work goes to the thread's default stream (nvcc --default-stream per-thread): two networks in two
 * threads do not wait for each other. DN_LAUNCH and its like may be defined before
 * (tests/host_cuda does).
 */
#ifndef DN_CUDA_LAUNCH_H
#define DN_CUDA_LAUNCH_H

#include "core/backend.h"
#include "core/status.h"

#include <cuda_runtime.h>

/* Threads of a block: a multiple of the warp's 32 that fills an SM of every architecture. */
enum { DN_BLOCK = 256 };

/* Threads of a warp; where kernels run on the CPU it is one thread (tests/host_cuda). */
#ifndef DN_WARP
#define DN_WARP 32
#endif

/* Enough blocks for the largest GPU; what is left over is strided. */
enum { DN_MOST_BLOCKS = 1 << 16 };

static inline unsigned dn_blocks(int64_t count)
{
    const int64_t blocks = count < 1 ? 1 : (count + DN_BLOCK - 1) / DN_BLOCK;
    return blocks < DN_MOST_BLOCKS ? (unsigned)blocks : (unsigned)DN_MOST_BLOCKS;
}

#define DN_GRID_STRIDE(i, count)                                                                   \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < (count);                  \
         i += (int64_t)gridDim.x * blockDim.x)

#ifndef DN_LAUNCH
#define DN_LAUNCH(kernel, count, ...) kernel<<<dn_blocks(count), DN_BLOCK>>>(__VA_ARGS__)
#endif

/* A kernel whose blocks' threads work together (__shared__, __syncthreads): block b does the items
 * b, b + gridDim.x ... of `blocks`, so that any number of blocks can be launched. */
#ifndef DN_LAUNCH_BLOCKS
#define DN_LAUNCH_BLOCKS(kernel, blocks, ...)                                                      \
    kernel<<<dn_blocks((blocks) * DN_BLOCK), DN_BLOCK>>>(__VA_ARGS__)
#endif

#define DN_BLOCK_STRIDE(b, blocks) for (int64_t b = blockIdx.x; b < (blocks); b += gridDim.x)

/* A kernel of a grid and blocks of a shape of its own, with `bytes` of shared memory that it finds
 * by DN_DYNAMIC_SHARED(name), an array of char. */
#ifndef DN_LAUNCH_TILES
#define DN_LAUNCH_TILES(kernel, grid, threads, bytes, ...)                                         \
    kernel<<<grid, threads, bytes>>>(__VA_ARGS__)
#define DN_DYNAMIC_SHARED(name) extern __shared__ __align__(128) char name[]
#endif

/* ---- Kernels that begin while the one before them still runs ----
 *
 * From compute capability 9.0 on a kernel launched by DN_FOLLOW may begin once every block of the
 * kernel before it has called dn_release_next() or ended. A thread calls dn_await_inputs(),
 * which returns when everything before is done, before it reads or writes what another kernel of
 * the stream writes or reads; what nobody writes in between, weights, it may read earlier.
 * Where such a kernel releases behind its own dn_await_inputs(), at most one more waits beside it.
 * A kernel launched otherwise begins when all before it are done. */
#ifndef DN_FOLLOW
static __device__ inline void dn_await_inputs()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

static __device__ inline void dn_release_next()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* Whether the kernel's code waits: what was compiled for an older GPU does not, wherever it runs.
 * Graphs keep such launches from CUDA 12.3 on. */
static inline bool dn_may_follow(const void *kernel)
{
    cudaFuncAttributes found;
    return CUDART_VERSION >= 12030 && cudaFuncGetAttributes(&found, kernel) == cudaSuccess &&
           found.ptxVersion >= 90;
}

/* In clusters of this many blocks, from compute capability 9.0 on. */
template <class... Parameters, class... Arguments>
static inline void dn_follow(void (*kernel)(Parameters...), dim3 grid, unsigned threads,
                             size_t bytes, dim3 cluster, const Arguments &...arguments)
{
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attributes[2] = {};
    config.gridDim = grid;
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = bytes;
    config.stream = cudaStreamPerThread;
    config.attrs = attributes;
    if (cluster.x * cluster.y * cluster.z > 1) {
        cudaLaunchAttribute *size = &attributes[config.numAttrs++];
        size->id = cudaLaunchAttributeClusterDimension;
        size->val.clusterDim.x = cluster.x;
        size->val.clusterDim.y = cluster.y;
        size->val.clusterDim.z = cluster.z;
    }
    if (dn_may_follow((const void *)kernel)) {
        cudaLaunchAttribute *overlap = &attributes[config.numAttrs++];
        overlap->id = cudaLaunchAttributeProgrammaticStreamSerialization;
        overlap->val.programmaticStreamSerializationAllowed = 1;
    }
    cudaLaunchKernelEx(&config, kernel, arguments...); /* whose error cudaGetLastError tells */
}

#define DN_FOLLOW(kernel, count, ...)                                                              \
    dn_follow(kernel, dn_blocks(count), DN_BLOCK, 0, dim3(1), __VA_ARGS__)
#define DN_FOLLOW_TILES(kernel, grid, threads, bytes, ...)                                         \
    dn_follow(kernel, grid, threads, bytes, dim3(1), __VA_ARGS__)
#define DN_FOLLOW_CLUSTERS(kernel, grid, threads, bytes, cluster, ...)                             \
    dn_follow(kernel, grid, threads, bytes, cluster, __VA_ARGS__)
#endif

/* Of a kernel that has nothing to do before. */
static __device__ inline void dn_await_and_release()
{
    dn_await_inputs();
    dn_release_next();
}

/* Before a short loop over the parts of a value that is to stay in registers. */
#ifndef DN_UNROLL
#define DN_UNROLL _Pragma("unroll")
#endif

/* Returns DN_ERROR_DEVICE with file, line and CUDA's words from the calling function where `call`,
 * a cudaError_t, is not cudaSuccess. After a launch: DN_CUDA_TRY(cudaGetLastError()). */
#define DN_CUDA_TRY(call)                                                                          \
    do {                                                                                           \
        const cudaError_t dn_cuda_error = (call);                                                  \
        if (dn_cuda_error != cudaSuccess)                                                          \
            return dn_fail(DN_ERROR_DEVICE, "%s:%d: CUDA: %s", __FILE__, __LINE__,                 \
                           cudaGetErrorString(dn_cuda_error));                                     \
    } while (0)

#endif
