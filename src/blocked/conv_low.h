/* Forms of low precision: what conv_int8.c and conv_bf16.c give to the walk that they share.
 *
 * Tensors are float32. Phase 0 turns the input into words of several channels, in the order of the
 * channels, with a border for the padding; phase 1 is the direct form's walk (conv_direct.h) over a
 * problem whose channels are words, whose input has its border and which ends in the usual
 * epilogue.
 */
#ifndef DN_BLOCKED_CONV_LOW_H
#define DN_BLOCKED_CONV_LOW_H

#include "blocked/conv_direct.h"
#include "blocked/dot.h"

/* The weights of one filter's channels of one block of words: channel c, tap t at
 * to[(t * lanes + c / in_word) * stride], element c % in_word. */
typedef struct dn_low_filter {
    const float *weights; /* (channels, taps) */
    float factor;
    float scale; /* of the filter: weight_scale's */
    int32_t channels, taps;
    uint32_t *to;
    int64_t stride;
} dn_low_filter;

static inline char *dn_low_place(const dn_low_filter *filter, int32_t in_word, int32_t channel,
                                 int32_t tap)
{
    const int64_t word = tap * DN_LANES + channel / in_word;
    return (char *)(filter->to + word * filter->stride) + channel % in_word * (4 / in_word);
}

typedef struct dn_conv_low {
    int32_t in_word;     /* channels */
    double cycles;       /* of a step, beside a fused multiply-add's */
    int32_t most_inputs; /* of an output, that its sum can hold */
    dn_conv_tile_run (*kernel)(int32_t vectors, int32_t pixels, int32_t stride);
    uint32_t (*padding)(const dn_quantization *quant); /* the word for a pixel beyond the image */
    /* Pixels of one block of floats; lanes / in_word words at every lanes-th word of `to`. */
    void (*convert)(const dn_quantization *quant, const float *in, int32_t pixels, uint32_t *to);
    /* where sums are integers: what a filter's weights become multiples of; else NULL */
    float (*weight_scale)(const float *weights, float factor, int32_t count);
    /* Returns the sum of the integers. */
    int32_t (*pack)(const dn_low_filter *filter);
} dn_conv_low;

extern const dn_conv_low DN_ISA_NAME(dn_conv_low_int8), DN_ISA_NAME(dn_conv_low_bf16);

#endif
