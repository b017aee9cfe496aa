/* Nearest-neighbour enlargement by a whole factor, and its transpose: one element each. */
#ifndef DN_MATH_UPSAMPLE_H
#define DN_MATH_UPSAMPLE_H

#include "math/portable.h"

typedef struct dn_upsample_geometry {
    int32_t h, w;   /* of the small plane */
    int32_t factor; /* the large plane is (h * factor, w * factor) */
    float scale;    /* multiplies every value */
} dn_upsample_geometry;

/* One value of the small plane into its block of the large one, whose first element is *block:
 * each element = (or += where `add`) the scaled value. */
DN_HD void dn_upsample_spread(const dn_upsample_geometry *g, float value, float *block, bool add)
{
    const int32_t width = g->w * g->factor;
    const float scaled = g->scale * value;
    for (int32_t j = 0; j < g->factor; j++)
        for (int32_t i = 0; i < g->factor; i++)
            block[j * width + i] = add ? block[j * width + i] + scaled : scaled;
}

/* The small plane's value: the sum of its block. */
DN_HD float dn_upsample_collect(const dn_upsample_geometry *g, const float *block)
{
    const int32_t width = g->w * g->factor;
    float sum = 0.0f;
    for (int32_t j = 0; j < g->factor; j++)
        for (int32_t i = 0; i < g->factor; i++) sum += block[j * width + i];
    return g->scale * sum;
}

/* Where the block of element x of a small row begins. Rows are counted through all planes: planes
 * follow each other, so a small row is `factor` rows of the large planes. */
DN_HD int64_t dn_upsample_block(const dn_upsample_geometry *g, int64_t row, int32_t x)
{
    return (row * g->factor * g->w + x) * g->factor;
}

#endif
