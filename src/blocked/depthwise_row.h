/* A row of a depthwise convolution: what its form (conv_depthwise.c) and chains (chain.h) share. */
#ifndef DN_BLOCKED_DEPTHWISE_ROW_H
#define DN_BLOCKED_DEPTHWISE_ROW_H

#include "blocked/conv_form.h"
#include "blocked/vector.h"

/* One output row of one block of channels. */
typedef struct dn_depthwise_row {
    const dn_conv_geometry *geometry;
    /* (size): the input row that each row of taps reads, from the first tap of the first pixel on,
     * with zeros beyond the image. */
    const float *const *rows;
    const float *weights; /* (size, size, lanes) */
    const float *shift;   /* (lanes); NULL: 0 */
    float slope;          /* out = max(x, slope * x) of x = sum + shift */
    float *out;           /* (out_w, lanes) */
} dn_depthwise_row;

void DN_ISA_NAME(dn_depthwise_row)(const dn_depthwise_row *row);

#endif
