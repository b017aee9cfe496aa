/* Convolution on the CPU, forward: out = act(scale * (weights * in) + shift).
 *
 * The product of the weights (filters, c * size * size) and the image's columns, without the
 * column matrix: panels of columns are packed straight from the image into the cache, and the last
 * step of the sum scales, shifts and activates a tile before it is stored. Depthwise convolutions
 * take a direct loop. Results do not depend on the number of threads.
 */
#ifndef DN_MATH_CONV_H
#define DN_MATH_CONV_H

#include "math/activation.h"
#include "math/col2im.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct dn_conv_args {
    dn_conv_geometry geometry; /* of one group: geometry.c input channels */
    int32_t images, groups;
    int32_t filters;      /* of one group */
    const float *in;      /* (images, groups * c, h, w) */
    const float *weights; /* (groups * filters, c, size, size); not read where `packed` is given */
    const float *packed;  /* dn_conv_pack_weights's, or NULL: packed anew in the workspace */
    float *out;           /* (images, groups * filters, out_h, out_w) */
    const float *scale;   /* (groups * filters), NULL: ones */
    const float *shift;   /* (groups * filters), NULL: zeros */
    dn_activation activation;
    bool accumulate;  /* out += weights * in; then no scale, shift or activation */
    int32_t threads;  /* at least 1 */
    float *workspace; /* (dn_conv_workspace(args)), not shared with a call that runs meanwhile */
} dn_conv_args;

/* How many floats dn_conv_forward needs at `workspace`, given packed weights or not. Looks at the
 * sizes and at threads; never falls when images or threads grow. */
int64_t dn_conv_workspace(const dn_conv_args *args, bool packed);

/* Floats of the packed weights: as many as there are weights. */
int64_t dn_conv_packed_floats(const dn_conv_args *args);

/* Fills `packed` from args->weights. It fits calls of the same geometry (but h, w and the output's
 * size), groups and filters, until the weights change. */
void dn_conv_pack_weights(const dn_conv_args *args, float *packed);

void dn_conv_forward(const dn_conv_args *args);

#endif
