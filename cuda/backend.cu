/* The CUDA backend: memory, copies and the table of kernels. See core/backend.h. */
#include "launch.h"

#include "describe.h"
#include "half_conv.h"
#include "jpeg.h"
#include "letterbox.h"
#include "optimizer.h"
#include "paste.h"
#include "sums.h"
#include "suppress.h"

/* Types and kernels of the layers with a CUDA form, side by side. */
#define DN_LAYER(name) extern "C" const dn_layer_type dn_##name##_layer;
#define DN_LAYER_CPU(name)
#include "core/layers.def"
#undef DN_LAYER

typedef struct dn_cuda_form {
    const dn_layer_type *type;
    const dn_layer_kernels *kernels;
} dn_cuda_form;

static const dn_cuda_form forms[] = {
#define DN_LAYER(name) {&dn_##name##_layer, &dn_##name##_cuda},
#include "core/layers.def"
#undef DN_LAYER
#undef DN_LAYER_CPU
};

static const dn_layer_kernels *cuda_kernels(const dn_layer_type *type)
{
    if (dn_is_without_form(type)) return nullptr;
    for (const dn_cuda_form &form : forms)
        if (form.type == type) return form.kernels;
    return nullptr;
}

static int32_t cuda_count()
{
    int count = 0;
    if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
    cudaGetLastError();
    return 0;
}

static dn_status cuda_select(int32_t index)
{
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
        cudaGetLastError();
        return dn_fail(DN_ERROR_DEVICE, "device cuda: no GPU can be used here (CUDA: %s)",
                       cudaGetErrorString(error));
    }
    if (index >= count)
        return dn_fail(DN_ERROR_DEVICE, "device cuda:%d: this machine has %d CUDA devices", index,
                       count);
    DN_CUDA_TRY(cudaSetDevice(index));
    return DN_OK;
}

static size_t cuda_room(size_t held)
{
    size_t unused = 0, all = 0;
    if (cudaMemGetInfo(&unused, &all) != cudaSuccess) {
        cudaGetLastError();
        return SIZE_MAX; /* what is too much, the allocation says */
    }
    return unused + held;
}

static dn_status cuda_alloc(size_t bytes, void **block)
{
    void *made = nullptr;
    if (bytes == 0) bytes = 1;
    const cudaError_t error = cudaMalloc(&made, bytes);
    if (error != cudaSuccess) {
        cudaGetLastError(); /* or the next launch would report this one */
        return dn_fail(error == cudaErrorMemoryAllocation ? DN_ERROR_MEMORY : DN_ERROR_DEVICE,
                       "device cuda: %zu bytes were asked for: %s", bytes,
                       cudaGetErrorString(error));
    }
    const cudaError_t zeroed = cudaMemsetAsync(made, 0, bytes);
    if (zeroed != cudaSuccess) cudaFree(made);
    DN_CUDA_TRY(zeroed);
    *block = made;
    return DN_OK;
}

static void cuda_free(void *block)
{
    cudaFree(block);
}

static dn_status cuda_alloc_host(size_t bytes, void **host)
{
    void *made = nullptr;
    const cudaError_t error = cudaMallocHost(&made, bytes == 0 ? 1 : bytes);
    if (error != cudaSuccess) {
        cudaGetLastError(); /* as above */
        return dn_fail(DN_ERROR_MEMORY,
                       "device cuda: %zu bytes of pinned memory were asked for: %s", bytes,
                       cudaGetErrorString(error));
    }
    *host = made;
    return DN_OK;
}

static void cuda_free_host(void *host)
{
    cudaFreeHost(host);
}

static dn_status cuda_copy_in(void *block, const void *host, size_t bytes)
{
    DN_CUDA_TRY(cudaMemcpy(block, host, bytes, cudaMemcpyHostToDevice));
    return DN_OK;
}

static dn_status cuda_send(void *block, const void *host, size_t bytes)
{
    DN_CUDA_TRY(cudaMemcpyAsync(block, host, bytes, cudaMemcpyHostToDevice));
    return DN_OK;
}

static dn_status cuda_copy_out(void *host, const void *block, size_t bytes)
{
    DN_CUDA_TRY(cudaMemcpy(host, block, bytes, cudaMemcpyDeviceToHost));
    return DN_OK;
}

static dn_status cuda_bring(void *host, const void *block, size_t bytes)
{
    DN_CUDA_TRY(cudaMemcpyAsync(host, block, bytes, cudaMemcpyDeviceToHost));
    return DN_OK;
}

static dn_status cuda_zero(void *block, size_t bytes)
{
    DN_CUDA_TRY(cudaMemsetAsync(block, 0, bytes));
    return DN_OK;
}

static dn_status cuda_copy(void *to, const void *from, size_t bytes)
{
    DN_CUDA_TRY(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice));
    return DN_OK;
}

/* Whether the byte is the current device's, or moves between the host and all devices. */
static dn_status check_place(const void *byte, int device)
{
    cudaPointerAttributes found;
    const cudaError_t error = cudaPointerGetAttributes(&found, byte);
    if (error != cudaSuccess) cudaGetLastError();
    if (error != cudaSuccess ||
        (found.type != cudaMemoryTypeDevice && found.type != cudaMemoryTypeManaged))
        return dn_fail(DN_ERROR_DEVICE, "address %p is no memory of a GPU", byte);
    if (found.type == cudaMemoryTypeDevice && found.device != device)
        return dn_fail(DN_ERROR_DEVICE, "an array on cuda:%d for a network on cuda:%d",
                       found.device, device);
    return DN_OK;
}

static dn_status cuda_accept(const void *data, size_t bytes, uint64_t stream)
{
    const char *first = (const char *)data;
    int device = 0;
    DN_CUDA_TRY(cudaGetDevice(&device));
    DN_TRY(check_place(first, device));
    if (bytes > 1) DN_TRY(check_place(first + bytes - 1, device));
    if (stream > 0) DN_CUDA_TRY(cudaStreamSynchronize((cudaStream_t)(uintptr_t)stream));
    return DN_OK;
}

static dn_status cuda_find(const void *address, bool *here)
{
    cudaPointerAttributes found;
    int device = 0;
    *here = false;
    DN_CUDA_TRY(cudaGetDevice(&device));
    if (cudaPointerGetAttributes(&found, address) != cudaSuccess) {
        cudaGetLastError(); /* memory that CUDA does not know is the host's */
        return DN_OK;
    }
    if (found.type == cudaMemoryTypeDevice && found.device != device)
        return dn_fail(DN_ERROR_DEVICE, "values on cuda:%d for a network on cuda:%d", found.device,
                       device);
    *here = found.type == cudaMemoryTypeDevice || found.type == cudaMemoryTypeManaged;
    return DN_OK;
}

static dn_status cuda_synchronise(void)
{
    DN_CUDA_TRY(cudaStreamSynchronize(cudaStreamPerThread));
    return DN_OK;
}

/* ---- marks ---- */

static dn_status make_mark(void **mark)
{
    cudaEvent_t event;
    DN_CUDA_TRY(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    *mark = (void *)event;
    return DN_OK;
}

static void free_mark(void *mark)
{
    if (mark) cudaEventDestroy((cudaEvent_t)mark);
}

static dn_status set_mark(void *mark)
{
    DN_CUDA_TRY(cudaEventRecord((cudaEvent_t)mark, cudaStreamPerThread));
    return DN_OK;
}

static dn_status follow_mark(void *mark)
{
    DN_CUDA_TRY(cudaStreamWaitEvent(cudaStreamPerThread, (cudaEvent_t)mark, 0));
    return DN_OK;
}

static dn_status wait_for_mark(void *mark)
{
    DN_CUDA_TRY(cudaEventSynchronize((cudaEvent_t)mark));
    return DN_OK;
}

static const dn_marks cuda_marks = {make_mark, free_mark, set_mark, follow_mark, wait_for_mark};

const dn_backend dn_cuda_backend = {
    "cuda",
    cuda_count,
    cuda_select,
    dn_cuda_describe,
    cuda_room,
    cuda_alloc,
    cuda_free,
    cuda_alloc_host,
    cuda_free_host,
    cuda_copy_in,
    cuda_send,
    cuda_copy_out,
    cuda_zero,
    cuda_bring,
    cuda_copy,
    dn_cuda_update,
    dn_cuda_square_sum,
    dn_cuda_letterbox,
    dn_cuda_to_pixels,
    cuda_accept,
    cuda_find,
    dn_cuda_detect,
    &dn_cuda_survivor_device,
    &cuda_marks,
    cuda_synchronise,
    cuda_kernels,
    &dn_cuda_plan_device,
    &dn_cuda_sums,
    &dn_cuda_jpeg,
    &dn_cuda_mask_device,
};
