/* Nearest-neighbour enlargement by a whole factor, and its transpose: one element each. */
#ifndef DN_MATH_UPSAMPLE_H
#define DN_MATH_UPSAMPLE_H

#include "math/portable.h"

typedef struct dn_upsample_geometry {
    int32_t h, w;   /* of the small plane */
    int32_t factor; /* the large plane is (h * factor, w * factor) */
    float scale;    /* multiplies every value */
} dn_upsample_geometry;

/* The large plane's value at (y, x). */
DN_HD float dn_upsample_spread(const dn_upsample_geometry *g, const float *small, int32_t y,
                               int32_t x)
{
    return g->scale * small[y / g->factor * g->w + x / g->factor];
}

/* The small plane's value at (y, x): the sum of its block. */
DN_HD float dn_upsample_collect(const dn_upsample_geometry *g, const float *large, int32_t y,
                                int32_t x)
{
    const int32_t width = g->w * g->factor;
    float sum = 0.0f;
    for (int32_t j = y * g->factor; j < (y + 1) * g->factor; j++)
        for (int32_t i = x * g->factor; i < (x + 1) * g->factor; i++) sum += large[j * width + i];
    return g->scale * sum;
}

#endif
