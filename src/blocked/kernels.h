/* The table of blocked kernels of one instruction set, and the one in use. */
#ifndef DN_BLOCKED_KERNELS_H
#define DN_BLOCKED_KERNELS_H

#include "blocked/chain.h"
#include "blocked/conv_form.h"
#include "blocked/rows.h"

#include <stddef.h>

typedef struct dn_kernels {
    const char *isa;
    int32_t lanes;
    const dn_conv_form *const *conv_forms; /* NULL at the end */
    const dn_conv_form *deconv;            /* blocked/deconv.h */

    /* Convolutions as one, each of which reads what the one before writes: the form of such a link
     * (NULL: it cannot be one), whether the chain pays, its tasks. */
    const dn_conv_form *(*chain_form)(const dn_conv_problem *problem);
    bool (*chain_fits)(const dn_chain *chain);
    int64_t (*chain_scratch)(const dn_chain *chain); /* bytes of one thread */
    int32_t (*chain_tasks)(dn_chain *chain, int32_t threads);
    void (*chain_run)(const dn_chain *chain, int32_t task, void *scratch);

    /* Images first..last-1 of a planar tensor (images, c, h, w) into a blocked one, whose surplus
     * lanes become 0, and back; channel blocks first_block..last_block-1 of one image. */
    void (*to_blocked)(const float *planar, const dn_blocked *out, int32_t image,
                       int32_t first_block, int32_t last_block);
    void (*to_planar)(const dn_blocked *in, float *planar, int32_t image, int32_t first_block,
                      int32_t last_block);

    /* Rows of the output of a maximum pool (scratch: (h, out_w, lanes)); of an enlargement; of
     * f(factors[0] * a + factors[1] * b); of f(scales * map) with a scale a channel; of f(in); of
     * the mean of each channel (one row); of some channels of another tensor. */
    void (*maxpool)(const dn_pool_geometry *g, const dn_blocked *in, const dn_blocked *out,
                    dn_rows rows, float *scratch);
    void (*upsample)(int32_t factor, float scale, const dn_blocked *in, const dn_blocked *out,
                     dn_rows rows);
    void (*add)(const float factors[2], const dn_blocked *a, const dn_blocked *b,
                dn_activation activation, const dn_blocked *out, dn_rows rows);
    void (*scale)(const dn_blocked *scales, const dn_blocked *map, dn_activation activation,
                  const dn_blocked *out, dn_rows rows);
    void (*activate)(const dn_blocked *in, dn_activation activation, const dn_blocked *out,
                     dn_rows rows);
    void (*average)(const dn_blocked *in, const dn_blocked *out, dn_rows rows);
    /* Channel blocks first_block..last_block-1 of boxes' bins; scratch: roi_bins_scratch bytes. */
    void (*roi_bins)(const dn_roi_bins_call *call, const dn_blocked *map, const dn_blocked *out,
                     int32_t first_block, int32_t last_block, void *scratch);
    int64_t (*roi_bins_scratch)(const dn_roi_pool *pool, int32_t map_h);
    void (*copy)(dn_channel_copy copy, const dn_blocked *in, const dn_blocked *out, dn_rows rows);
    /* out (h, w) = bias + the channels of image `image` times weights, which are 0 from in->c to
     * the end of the last block. */
    void (*mask_logits)(const dn_blocked *in, int32_t image, const float *weights, float bias,
                        float *out);
} dn_kernels;

/* Of the instruction set that dn_cpu_isa() says. */
const dn_kernels *dn_kernels_in_use(void);

#endif
