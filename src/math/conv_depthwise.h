/* Depthwise convolution: every channel has one filter of its own. Internal to src/math. */
#ifndef DN_MATH_CONV_DEPTHWISE_H
#define DN_MATH_CONV_DEPTHWISE_H

#include "math/conv.h"
#include "math/gemm_kernel.h"

#include <stdbool.h>

static inline bool dn_conv_is_depthwise(const dn_conv_args *args)
{
    return args->geometry.c == 1 && args->filters == 1;
}

/* What of an activation the kernels apply to their vectors. */
static inline dn_tile_activation dn_tile_activation_of(dn_activation kind)
{
    if (kind == DN_ACTIVATION_leaky) return DN_TILE_LEAKY;
    return kind == DN_ACTIVATION_relu ? DN_TILE_RELU : DN_TILE_LINEAR;
}

/* Whether the activation is left to do once the sums are complete. */
static inline bool dn_tile_activation_follows(dn_activation kind)
{
    return kind != DN_ACTIVATION_linear && dn_tile_activation_of(kind) == DN_TILE_LINEAR;
}

int64_t dn_conv_depthwise_workspace(const dn_conv_args *args);
void dn_conv_depthwise(const dn_conv_args *args);

/* Some output rows of one channel. Tap (ky, kx) of output (y, x) lies at
 * window[(y * stride_y + ky * dilation) * pitch + x * stride_x + kx * dilation]. */
typedef struct dn_depthwise_strip {
    const float *window; /* padding as zeros; readable DN_PACK_SLACK floats beyond the last value */
    ptrdiff_t pitch;
    int32_t rows, columns; /* of the output */
    int32_t size, stride_x, stride_y, dilation;
    const float *weights; /* (size, size) */
    float scale, shift;
    dn_tile_activation activation;
    float slope;
    bool accumulate; /* out += */
    float *out;      /* (rows, columns) */
} dn_depthwise_strip;

void dn_depthwise_plain(const dn_depthwise_strip *strip);
void dn_depthwise_avx2(const dn_depthwise_strip *strip);
void dn_depthwise_avx512(const dn_depthwise_strip *strip);

#endif
