/* The part of an image that some outputs of a convolution see, copied with its padding as zeros:
 * what panels are packed from. Internal to src/math.
 */
#ifndef DN_MATH_CONV_WINDOW_H
#define DN_MATH_CONV_WINDOW_H

#include "math/col2im.h"

#include <stdbool.h>
#include <stdint.h>

/* 1x1, stride 1, no padding: the image is its own column matrix. */
static inline bool dn_conv_is_pointwise(const dn_conv_geometry *g)
{
    return g->size == 1 && g->stride_x == 1 && g->stride_y == 1 && g->pad == 0 &&
           g->out_h == g->h && g->out_w == g->w;
}

/* Input pixels that `outputs` neighbouring outputs see along one axis. */
static inline int64_t dn_window_extent(const dn_conv_geometry *g, int32_t outputs, int32_t stride)
{
    return (int64_t)(outputs - 1) * stride + (int64_t)(g->size - 1) * g->dilation + 1;
}

/* Copies the rows that outputs of row out_y and after see: out[i * pitch + j] is the plane's pixel
 * (out_y * stride_y - pad + i, j - pad), 0 outside the plane. */
void dn_window_fill(const dn_conv_geometry *g, const float *plane, /* (h, w) */
                    int32_t out_y, int32_t rows, int32_t pitch, float *out /* (rows, pitch) */);

#endif
