/* Where an element of a shortcut's output finds its partner in another layer's tensor.
 *
 * Tensors of different size overlap by pjreddie's rule: the larger side is read with a step
 * (`stride`), or the smaller one lands on every `sample`-th pixel; channels and pixels beyond the
 * smaller tensor have no partner. Each element of the other tensor has at most one.
 */
#ifndef DN_MATH_SHORTCUT_H
#define DN_MATH_SHORTCUT_H

#include "math/portable.h"

typedef struct dn_overlap {
    int32_t h, w;                /* of the other tensor */
    int32_t min_c, min_h, min_w; /* what both have */
    int32_t stride, sample;      /* at least 1 */
} dn_overlap;

/* Index in the other tensor's plane of channel c; -1: no partner. */
DN_HD int32_t dn_overlap_source(const dn_overlap *o, int32_t c, int32_t y, int32_t x)
{
    if (c >= o->min_c || y % o->sample != 0 || x % o->sample != 0) return -1;
    const int32_t j = y / o->sample, i = x / o->sample;
    if (j >= o->min_h || i >= o->min_w) return -1;
    return j * o->stride * o->w + i * o->stride;
}

#endif
