/* Dropout (Srivastava et al. 2014): the factor of one element, a function of where it is, so that
 * backward finds the mask again without saving it. */
#ifndef DN_MATH_DROPOUT_H
#define DN_MATH_DROPOUT_H

#include "core/rng.h"
#include "math/portable.h"

typedef struct dn_dropout {
    uint64_t seed, iteration;
    int32_t layer;
    float probability; /* of zero, below 1 */
} dn_dropout;

/* 0, or 1 / (1 - probability) for the survivors. */
DN_HD float dn_dropout_factor(const dn_dropout *d, int64_t element)
{
    const uint64_t slot = ((uint64_t)d->layer << 40) ^ (uint64_t)element;
    dn_rng rng = dn_rng_make(d->seed, d->iteration, slot, DN_RNG_DROPOUT);
    return dn_rng_uniform(&rng, 0.0f, 1.0f) < d->probability ? 0.0f
                                                             : 1.0f / (1.0f - d->probability);
}

#endif
