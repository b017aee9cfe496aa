/* As much of CUDA's runtime as cuda/ uses, on the CPU: `make host-cuda-check` compiles the .cu
 * files as C++ against this header and runs their tests on machines without a GPU.
 *
 * A launch runs its kernel once a "thread", one after the other; DN_HOST_CUDA_REVERSE=1 in the
 * environment runs them backwards, and kernels that write what belongs to another thread give other
 * results. The threads of a block that meet at __syncthreads() are contexts of their own, each run
 * up to there before any goes on. Device memory is out of the host's reach (devices.h). What this
 * cannot show: errors of nvcc's code, of launch sizes, of
 * streams, races between two meetings.
 */
#ifndef DN_TESTS_HOST_CUDA_RUNTIME_H
#define DN_TESTS_HOST_CUDA_RUNTIME_H

#include "devices.h"

#include <cstdlib>
#include <cstring>

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
    for (dn_host_access dn_host_open; dn_host_open.once();)                                        \
        for (unsigned dn_host_number = 0; dn_host_number < gridDim.x * blockDim.x;                 \
             dn_host_number++)                                                                     \
    dn_host_thread(dn_host_number), (void)dn_blocks(count), kernel(__VA_ARGS__)

/* ---- Blocks whose threads meet ---- */

enum { DN_HOST_THREADS = 3, DN_HOST_STACK = 1 << 18 };

/* The threads of the block that runs, and where __syncthreads() goes back to. */
struct dn_host_block {
    ucontext_t scheduler, threads[DN_HOST_THREADS];
    bool ended[DN_HOST_THREADS];
    unsigned current;
    void (*body)(const void *);
    const void *kernel;
    alignas(64) char stacks[DN_HOST_THREADS][DN_HOST_STACK];
};

static thread_local dn_host_block *dn_host_running;

static inline void __syncthreads()
{
    dn_host_block *block = dn_host_running;
    swapcontext(&block->threads[block->current], &block->scheduler);
}

static inline void dn_host_enter()
{
    dn_host_block *block = dn_host_running;
    block->body(block->kernel);
    block->ended[block->current] = true;
}

/* Runs every thread up to its next meeting; false when all have ended. */
static inline bool dn_host_turn(dn_host_block *block, unsigned first)
{
    bool left = false;
    for (unsigned k = 0; k < blockDim.x; k++) {
        dn_host_thread(first + k);
        block->current = threadIdx.x;
        if (block->ended[block->current]) continue;
        swapcontext(&block->scheduler, &block->threads[block->current]);
        left = left || !block->ended[block->current];
    }
    return left;
}

template <typename Kernel> static inline void dn_host_blocks(const Kernel &kernel)
{
    const dn_host_access open;
    dn_host_block *block = new dn_host_block;
    block->kernel = &kernel;
    block->body = [](const void *made) { (*static_cast<const Kernel *>(made))(); };
    dn_host_running = block;
    for (unsigned b = 0; b < gridDim.x; b++) {
        for (unsigned t = 0; t < blockDim.x; t++) {
            getcontext(&block->threads[t]);
            block->threads[t].uc_stack.ss_sp = block->stacks[t];
            block->threads[t].uc_stack.ss_size = DN_HOST_STACK;
            block->threads[t].uc_link = &block->scheduler;
            block->ended[t] = false;
            makecontext(&block->threads[t], dn_host_enter, 0);
        }
        while (dn_host_turn(block, b * blockDim.x)) continue;
    }
    dn_host_running = nullptr;
    delete block;
}

#define DN_LAUNCH_BLOCKS(kernel, blocks, ...)                                                      \
    (void)(blocks), dn_host_blocks([&] { kernel(__VA_ARGS__); })

/* ---- The runtime ---- */

enum cudaError_t { cudaSuccess, cudaErrorInvalidValue, cudaErrorMemoryAllocation };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaStream_t { cudaStreamPerThread };
enum cudaEvent_t { cudaEventDisableTiming };

static inline const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaSuccess             ? "no error"
           : error == cudaErrorInvalidValue ? "invalid argument"
                                            : "out of memory";
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
    *block = dn_host_alloc(bytes);
    return *block ? cudaSuccess : cudaErrorMemoryAllocation;
}

static inline cudaError_t cudaFree(void *block)
{
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
    std::free(block);
    return cudaSuccess;
}

static inline cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    if (bytes == 0) return cudaSuccess;
    const bool to_device = kind != cudaMemcpyDeviceToHost;
    const bool from_device = kind != cudaMemcpyHostToDevice;
    if (dn_host_is_here(to, bytes) != to_device || dn_host_is_here(from, bytes) != from_device)
        return cudaErrorInvalidValue;
    if (kind == cudaMemcpyDeviceToHost) {
        dn_host_to_host().count++;
        dn_host_to_host().bytes += (long)bytes;
    }
    const dn_host_access open;
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
    if (bytes == 0) return cudaSuccess;
    if (!dn_host_is_here(block, bytes)) return cudaErrorInvalidValue;
    const dn_host_access open;
    std::memset(block, value, bytes);
    return cudaSuccess;
}

static inline cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return cudaSuccess;
}

static inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t *, int)
{
    return cudaSuccess;
}

static inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t)
{
    return cudaSuccess;
}

static inline cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    return cudaSuccess;
}

static inline cudaError_t cudaEventDestroy(cudaEvent_t)
{
    return cudaSuccess;
}

#endif
