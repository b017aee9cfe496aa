/* Products of a warp on tensor cores whose values stay in registers: PTX's mma.m16n8k16.
 *
 * A thread is DN_LANES lanes of its warp: one or, where kernels run on the CPU (tests/host_cuda),
 * all 32. Lane 4 g + q has, of a product of 16 rows, 8 columns and 16 values of the sum,
 *     left factor:  rows g and g + 8, as a[0], a[2] and a[1], a[3]; in each pair the sum's values
 *                   2 q, 2 q + 1 and 2 q + 8, 2 q + 9;
 *     right factor: column g, the same values of the sum, as b[0] and b[1];
 *     sums:         columns 2 q, 2 q + 1 of row g, as sums[0] and sums[1], and of row g + 8.
 */
#ifndef DN_CUDA_HALF_MMA_H
#define DN_CUDA_HALF_MMA_H

#include "half_shape.h"

typedef struct dn_lane {
    int g, q;
} dn_lane;

#ifndef DN_LANES
#define DN_LANES 1

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define DN_MULTIPLY_LANES(type)                                                                    \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0, %1, %2, %3}, "           \
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                            \
        : "+f"(sums[0][0]), "+f"(sums[0][1]), "+f"(sums[0][2]), "+f"(sums[0][3])                   \
        : "r"(a[0][0]), "r"(a[0][1]), "r"(a[0][2]), "r"(a[0][3]), "r"(b[0][0]), "r"(b[0][1]))
#else /* half as much at once */
#define DN_MULTIPLY_HALF(k)                                                                        \
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, "            \
        "{%6}, {%0, %1, %2, %3};"                                                                  \
        : "+f"(sums[0][0]), "+f"(sums[0][1]), "+f"(sums[0][2]), "+f"(sums[0][3])                   \
        : "r"(a[0][2 * k]), "r"(a[0][2 * k + 1]), "r"(b[0][k]))
#define DN_MULTIPLY_LANES(type)                                                                    \
    DN_MULTIPLY_HALF(0);                                                                           \
    DN_MULTIPLY_HALF(1)
#endif

/* sums += a * b */
template <class T>
static __device__ inline void dn_multiply_lanes(float sums[DN_LANES][4],
                                                const uint32_t a[DN_LANES][4],
                                                const uint32_t b[DN_LANES][2]);

template <>
__device__ inline void dn_multiply_lanes<__half>(float sums[DN_LANES][4],
                                                 const uint32_t a[DN_LANES][4],
                                                 const uint32_t b[DN_LANES][2])
{
    DN_MULTIPLY_LANES("f16");
}

/* Never launched on GPUs before 8.0, which have no such products. */
template <>
__device__ inline void dn_multiply_lanes<__nv_bfloat16>(float sums[DN_LANES][4],
                                                        const uint32_t a[DN_LANES][4],
                                                        const uint32_t b[DN_LANES][2])
{
    DN_MULTIPLY_LANES("bf16");
}
#endif

/* The thread's l-th. */
static __device__ inline dn_lane dn_lane_of(int l)
{
    const int number = (int)threadIdx.x % DN_WARP * DN_LANES + l;
    const dn_lane lane = {number / 4, number % 4};
    return lane;
}

#endif
