/* Hopper's tensor copy engine (TMA) and the barriers of shared memory that its copies complete:
 * CUDA's own instructions for compute capability 9.0 (PTX ISA, "cp.async.bulk.tensor", "mbarrier").
 * tests/host_cuda has the same in plain loops.
 *
 * One thread asks for a box of a tensor, and the engine writes it into shared memory in the order
 * that warpgroup.h wants: rows of 64 or 32 values of 16 bits whose pieces are permuted, zeros where
 * the tensor has no values. With a mask of several blocks of the cluster all of them get it, at the
 * same place, and each one's barrier of that place is told of the bytes. Two kinds of tensors: the
 * pixels that a tap of a convolution meets, of which a box goes from output pixel to output pixel,
 * through lines and images; and filters, by channel, tap and filter.
 *
 * Limits of pixels: strides to 8, a border to 128, taps within 255 of each other.
 */
#ifndef DN_CUDA_BULK_H
#define DN_CUDA_BULK_H

#include "half_conv.h"

#include <warpgroup.h>

#include <atomic>
#include <cuda.h>
#include <stdint.h>

/* What the engine is told of a tensor: a parameter of the kernel (__grid_constant__). */
typedef CUtensorMap dn_bulk_tensor;

/* ---- Barriers ---- */

/* Eight bytes of shared memory. A phase ends when as many have arrived as it was made for and all
 * bytes that were announced are there. */
typedef uint64_t dn_barrier;

static __device__ inline void dn_barrier_make(dn_barrier *barrier, uint32_t arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(dn_shared_address(barrier)),
                 "r"(arrivals)
                 : "memory");
}

/* By who has made them, before the meeting behind which others use them. */
static __device__ inline void dn_show_barriers()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/* Arrives, and announces bytes. */
static __device__ inline void dn_barrier_expect(dn_barrier *barrier, uint32_t bytes)
{
    asm volatile(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(dn_shared_address(barrier)),
        "r"(bytes)
        : "memory");
}

/* Arrives at the barrier in the same place of another block of the cluster. In the default scope:
 * nothing that was written is to be seen there, and a wider one is a fence of the whole GPU. */
static __device__ inline void dn_barrier_arrive(dn_barrier *barrier, uint32_t block)
{
    asm volatile(
        "{\n.reg .b32 there;\n"
        "mapa.shared::cluster.u32 there, %0, %1;\n"
        "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(dn_shared_address(barrier)),
        "r"(block)
        : "memory");
}

/* Until the phase of this parity has ended; a barrier's first is 0. */
static __device__ inline void dn_barrier_wait(dn_barrier *barrier, uint32_t parity)
{
    uint32_t ended = 0;
    while (!ended)
        asm volatile("{\n.reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;\n}"
                     : "=r"(ended)
                     : "r"(dn_shared_address(barrier)), "r"(parity)
                     : "memory");
}

/* ---- Copies ---- */

/* The tensor will be needed soon. */
static __device__ inline void dn_expect_tensor(const dn_bulk_tensor *tensor)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(tensor) : "memory");
}

/* Whether a mask names more than one block. */
static __device__ inline bool dn_is_shared(uint16_t blocks)
{
    return (blocks & (blocks - 1)) != 0;
}

/* Pixels from (c, x, y, image) of the input on, where the first tap is, moved by (right, down). */
static __device__ inline void dn_copy_pixels(const dn_bulk_tensor *tensor, void *to,
                                             dn_barrier *barrier, const int32_t (&at)[4],
                                             uint16_t right, uint16_t down, uint16_t blocks)
{
    if (!dn_is_shared(blocks)) {
        asm volatile(
            "cp.async.bulk.tensor.4d.shared::cluster.global.im2col"
            ".mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6], {%7, %8};" ::"r"(
                dn_shared_address(to)),
            "l"(tensor), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]),
            "r"(dn_shared_address(barrier)), "h"(right), "h"(down)
            : "memory");
        return;
    }
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col"
                 ".mbarrier::complete_tx::bytes.multicast::cluster"
                 " [%0], [%1, {%2, %3, %4, %5}], [%6], {%7, %8}, %9;" ::"r"(dn_shared_address(to)),
                 "l"(tensor), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]),
                 "r"(dn_shared_address(barrier)), "h"(right), "h"(down), "h"(blocks)
                 : "memory");
}

static __device__ inline void dn_copy_filters(const dn_bulk_tensor *tensor, void *to,
                                              dn_barrier *barrier, const int32_t (&at)[3],
                                              uint16_t blocks)
{
    if (!dn_is_shared(blocks)) {
        asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile"
                     ".mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(
                         dn_shared_address(to)),
                     "l"(tensor), "r"(at[0]), "r"(at[1]), "r"(at[2]),
                     "r"(dn_shared_address(barrier))
                     : "memory");
        return;
    }
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile"
                 ".mbarrier::complete_tx::bytes.multicast::cluster"
                 " [%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(dn_shared_address(to)),
                 "l"(tensor), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(dn_shared_address(barrier)),
                 "h"(blocks)
                 : "memory");
}

/* ---- Tensors ---- */

/* The driver's functions, which the runtime hands out. */
template <class Function>
static inline dn_status dn_driver_function(const char *name, std::atomic<Function> *known,
                                           Function *to)
{
    *to = known->load(std::memory_order_relaxed);
    if (*to) return DN_OK;
    cudaDriverEntryPointQueryResult found;
    void *function = NULL;
#if CUDART_VERSION >= 12050
    DN_CUDA_TRY(
        cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found));
#else
    DN_CUDA_TRY(cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &found));
#endif
    if (found != cudaDriverEntryPointSuccess || !function)
        return dn_fail(DN_ERROR_DEVICE, "CUDA's driver has no %s", name);
    *to = (Function)function;
    known->store(*to, std::memory_order_relaxed);
    return DN_OK;
}

static inline dn_status dn_tensor_made(CUresult result, const char *of)
{
    if (result == CUDA_SUCCESS) return DN_OK;
    return dn_fail(DN_ERROR_DEVICE, "CUDA refuses the tensor of a convolution's %s (%d)", of,
                   (int)result);
}

static inline CUtensorMapDataType dn_tensor_type(const dn_half_conv *p)
{
    return p->bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
}

static inline CUtensorMapSwizzle dn_tensor_order(int channels)
{
    return channels == 64 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B;
}

/* Of the call's input, in boxes of `channels`, 64 or 32, of `pixels`. */
static inline dn_status dn_tensor_of_pixels(const dn_half_conv *p, int channels, int pixels,
                                            dn_bulk_tensor *tensor)
{
    static std::atomic<decltype(&cuTensorMapEncodeIm2col)> known;
    decltype(&cuTensorMapEncodeIm2col) encode;
    const cuuint64_t sizes[] = {(cuuint64_t)p->groups * p->c, (cuuint64_t)p->w, (cuuint64_t)p->h,
                                (cuuint64_t)p->images};
    const cuuint64_t strides[] = {(cuuint64_t)p->in_pixel * 2, (cuuint64_t)p->in_pixel * p->w * 2,
                                  (cuuint64_t)p->in_image * 2};
    const int last = p->pad - (p->size - 1) * p->dilation;
    const int first_corner[] = {-p->pad, -p->pad}, last_corner[] = {last, last};
    const cuuint32_t steps[] = {1, (cuuint32_t)p->stride_x, (cuuint32_t)p->stride_y, 1};
    DN_TRY(dn_driver_function("cuTensorMapEncodeIm2col", &known, &encode));
    return dn_tensor_made(encode(tensor, dn_tensor_type(p), 4, const_cast<void *>(p->in), sizes,
                                 strides, first_corner, last_corner, (cuuint32_t)channels,
                                 (cuuint32_t)pixels, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                 dn_tensor_order(channels), CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                          "input");
}

/* Of its weights, in boxes of `channels` of one tap of `filters`. */
static inline dn_status dn_tensor_of_filters(const dn_half_conv *p, int channels, int filters,
                                             dn_bulk_tensor *tensor)
{
    static std::atomic<decltype(&cuTensorMapEncodeTiled)> known;
    decltype(&cuTensorMapEncodeTiled) encode;
    const cuuint64_t taps = (cuuint64_t)p->size * p->size;
    const cuuint64_t sizes[] = {(cuuint64_t)p->c, taps, (cuuint64_t)p->groups * p->filters};
    const cuuint64_t strides[] = {(cuuint64_t)p->c * 2, (cuuint64_t)p->k * 2};
    const cuuint32_t box[] = {(cuuint32_t)channels, 1, (cuuint32_t)filters}, steps[] = {1, 1, 1};
    DN_TRY(dn_driver_function("cuTensorMapEncodeTiled", &known, &encode));
    return dn_tensor_made(encode(tensor, dn_tensor_type(p), 3, const_cast<void *>(p->weights),
                                 sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                 dn_tensor_order(channels), CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                          "weights");
}

#endif
