/* One filter of a 1x1 convolution over one image: what [mask] reads of a box. See kernels.h.
 *
 * A pixel's products are summed lane by lane over the blocks, then over the lanes in their order,
 * so a pixel's logit does not depend on its place among the others.
 */
#include "blocked/row_kernels.h"
#include "blocked/vector.h"

enum { PIXELS = DN_REGISTERS / 2 }; /* at a time */

/* Sums of `pixels` pixels from `in` on, one behind the other. */
DN_INLINE void sum_pixels(const float *in, int64_t plane, const float *weights, int32_t blocks,
                          float bias, const int pixels, float *out)
{
    dn_vec sums[PIXELS];
    float lanes[PIXELS][DN_LANES];
#pragma GCC unroll 16
    for (int p = 0; p < pixels; ++p) sums[p] = dn_vec_set(0.0f);
    for (int32_t b = 0; b < blocks; ++b, in += plane) {
        const dn_vec w = dn_vec_load(weights + b * DN_LANES);
#pragma GCC unroll 16
        for (int p = 0; p < pixels; ++p)
            sums[p] = dn_fma(dn_vec_load(in + p * DN_LANES), w, sums[p]);
    }
#pragma GCC unroll 16
    for (int p = 0; p < pixels; ++p) dn_vec_store(lanes[p], sums[p]);
    for (int p = 0; p < pixels; ++p) out[p] = bias;
    for (int l = 0; l < DN_LANES; ++l)
        for (int p = 0; p < pixels; ++p) out[p] += lanes[p][l];
}

void DN_ISA_NAME(dn_mask_logits)(const dn_blocked *in, int32_t image, const float *weights,
                                 float bias, float *out)
{
    const float *from = in->data + image * in->image_stride;
    const int32_t blocks = dn_blocks(in->c, DN_LANES), pixels = in->h * in->w;
    const int64_t plane = (int64_t)pixels * DN_LANES;
    int32_t i = 0;
    for (; i + PIXELS <= pixels; i += PIXELS)
        sum_pixels(from + i * DN_LANES, plane, weights, blocks, bias, PIXELS, out + i);
    for (; i < pixels; ++i)
        sum_pixels(from + i * DN_LANES, plane, weights, blocks, bias, 1, out + i);
}
