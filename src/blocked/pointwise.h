/* 1x1 convolutions: what their form (conv_pointwise.c) and chains (chain.h) share.
 *
 * Every pair of output vectors goes over all pixels given, in register tiles that sum all input
 * channels in one go: so many pixels at a time as stay near while their weights pass by.
 */
#ifndef DN_BLOCKED_POINTWISE_H
#define DN_BLOCKED_POINTWISE_H

#include "blocked/conv_form.h"
#include "blocked/isa.h"

/* Rows of pixels, of one image; distances in floats. */
typedef struct dn_pointwise_rows {
    const float *in;
    int64_t in_block, in_row; /* to the next block of channels, to the next row */
    float *out;               /* planar where the problem says so */
    int64_t out_block, out_row;
    const float *add; /* NULL: nothing is added */
    int64_t add_block, add_row;
    int32_t rows, width;
} dn_pointwise_rows;

/* Pairs first_pair..last_pair-1, as far as there are so many. `sums`: dn_pointwise_sums floats for
 * the widest row; rows that lie one behind the other in all tensors may be given as one. */
void DN_ISA_NAME(dn_pointwise_run)(const dn_conv_call *call, const dn_pointwise_rows *rows,
                                   int32_t first_pair, int32_t last_pair, float *sums);
int64_t DN_ISA_NAME(dn_pointwise_sums)(int32_t width);

/* Whether the problem is such a convolution. */
bool DN_ISA_NAME(dn_pointwise_fits)(const dn_conv_problem *problem);

extern const dn_conv_form DN_ISA_NAME(dn_conv_pointwise);

#endif
