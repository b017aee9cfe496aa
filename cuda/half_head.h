/* What a [yolo] makes of its input (layers/yolo.c), at the end of the convolution before it.
 *
 * Its logistic is 1 / (1 + e^-x), as that of the layer by itself, to the bit from x = -80 on; below
 * it is that of -80, 1.8e-35, since the inverse goes without the way for what is smaller than
 * normal numbers are. That way is a branch a value, and a thread ends eight of them at once.
 */
#ifndef DN_CUDA_HALF_HEAD_H
#define DN_CUDA_HALF_HEAD_H

#include "half_conv.h"

#include "math/yolo.h"

/* 1 / x of 1 <= x < 2^126, rounded as a division is. */
static __device__ inline float dn_inverse(float x)
{
#ifdef __CUDA_ARCH__
    float near;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(near) : "f"(x));
    return fmaf(near, fmaf(-x, near, 1.0f), near);
#else
    return 1.0f / x;
#endif
}

static __device__ inline float dn_head_logistic(float x)
{
    return dn_inverse(1.0f + expf(x < -80.0f ? 80.0f : -x)); /* no number stays none */
}

/* Eight channels from `channel` on. */
static __device__ inline void dn_end_head(const dn_half_head *head, int32_t channel, float *values)
{
    int32_t entry = channel % head->entries;
    DN_UNROLL
    for (int e = 0; e < 8; e++) {
        const float squashed = dn_head_logistic(values[e]);
        const bool squashes = dn_yolo_squashes(head->new_coords, entry);
        values[e] = dn_yolo_output(head->scale_x_y, entry, squashes ? squashed : values[e]);
        entry = entry + 1 == head->entries ? 0 : entry + 1;
    }
}

#endif
