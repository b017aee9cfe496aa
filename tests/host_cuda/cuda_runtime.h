/* As much of CUDA's runtime as cuda/ uses, on the CPU: `make host-cuda-check` compiles the .cu
 * files as C++ against this header and runs their tests on machines without a GPU.
 *
 * A launch runs its kernel once a "thread", one after the other; DN_HOST_CUDA_REVERSE=1 in the
 * environment runs them backwards, and kernels that write what belongs to another thread give other
 * results. What this cannot show: errors of nvcc's code, of launch sizes, of streams, races.
 */
#ifndef DN_TESTS_HOST_CUDA_RUNTIME_H
#define DN_TESTS_HOST_CUDA_RUNTIME_H

#include <cstdlib>
#include <cstring>

#define __global__
#define __device__
#define __host__

struct dn_host_dim {
    unsigned x;
};

/* Two blocks of three threads: every kernel strides, and meets odd ends. */
static const dn_host_dim gridDim = {2}, blockDim = {3};
static thread_local dn_host_dim blockIdx, threadIdx;

static inline void dn_host_thread(unsigned number)
{
    static const bool reverse = std::getenv("DN_HOST_CUDA_REVERSE") != nullptr;
    const unsigned threads = gridDim.x * blockDim.x;
    const unsigned id = reverse ? threads - 1 - number : number;
    blockIdx.x = id / blockDim.x;
    threadIdx.x = id % blockDim.x;
}

#define DN_LAUNCH(kernel, count, ...)                                                              \
    for (unsigned dn_host_number = 0; dn_host_number < gridDim.x * blockDim.x; dn_host_number++)   \
    dn_host_thread(dn_host_number), (void)dn_blocks(count), kernel(__VA_ARGS__)

enum cudaError_t { cudaSuccess, cudaErrorMemoryAllocation = 2 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaStream_t { cudaStreamPerThread };

static inline const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaSuccess ? "no error" : "out of memory";
}

static inline cudaError_t cudaGetLastError()
{
    return cudaSuccess;
}

static inline cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

static inline cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}

static inline cudaError_t cudaMemGetInfo(size_t *unused, size_t *all)
{
    *unused = *all = (size_t)8 << 30;
    return cudaSuccess;
}

static inline cudaError_t cudaMalloc(void **block, size_t bytes)
{
    *block = std::malloc(bytes);
    return *block ? cudaSuccess : cudaErrorMemoryAllocation;
}

static inline cudaError_t cudaFree(void *block)
{
    std::free(block);
    return cudaSuccess;
}

static inline cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind)
{
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}

static inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes,
                                          cudaMemcpyKind kind)
{
    return cudaMemcpy(to, from, bytes, kind);
}

static inline cudaError_t cudaMemsetAsync(void *block, int value, size_t bytes)
{
    std::memset(block, value, bytes);
    return cudaSuccess;
}

static inline cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return cudaSuccess;
}

#endif
