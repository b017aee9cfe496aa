/* Multi-scale training (random=1 in a head): the input size of an iteration.
 *
 * Every ten iterations a new size, as in Darknet: both sides of the cfg's size are multiplied by
 * one factor from 1..c or 1/c..1 (c is `random`, or 1.4 where that is 1) and rounded up to a
 * multiple of `resize_step`. The factor is a function of (seed, iteration), so that the loader can
 * prepare batches before their turn and a resumed run sees the same sizes.
 */
#ifndef DN_TRAIN_SIZES_H
#define DN_TRAIN_SIZES_H

#include <stdint.h>

typedef struct dn_sizes {
    int32_t width, height; /* the cfg's */
    float factor;          /* c; at most 1: every iteration has the cfg's size */
    float step;
    uint64_t seed;
    int64_t samples; /* of an iteration */
} dn_sizes;

/* The size of iteration 0, 1, ... */
void dn_sizes_at(const dn_sizes *sizes, int64_t iteration, int32_t *width, int32_t *height);

/* No iteration has a larger one. */
void dn_sizes_largest(const dn_sizes *sizes, int32_t *width, int32_t *height);

#endif
