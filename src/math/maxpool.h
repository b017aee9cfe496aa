/* One output element of a maximum pooling: its value and where it came from. */
#ifndef DN_MATH_MAXPOOL_H
#define DN_MATH_MAXPOOL_H

#include "math/portable.h"

#include <float.h>

typedef struct dn_pool_geometry {
    int32_t h, w, out_h, out_w; /* of one plane */
    int32_t size, stride_x, stride_y;
    int32_t before; /* padding before the first row and column */
} dn_pool_geometry;

/* Index of the window's first maximum in `plane` (h, w); -1: the window is outside. */
DN_HD int32_t dn_maxpool_argmax(const dn_pool_geometry *g, const float *plane, int32_t out_y,
                                int32_t out_x)
{
    const int32_t top = out_y * g->stride_y - g->before, left = out_x * g->stride_x - g->before;
    int32_t best = -1;
    for (int32_t y = top < 0 ? 0 : top; y < top + g->size && y < g->h; y++)
        for (int32_t x = left < 0 ? 0 : left; x < left + g->size && x < g->w; x++)
            if (best < 0 || plane[y * g->w + x] > plane[best]) best = y * g->w + x;
    return best;
}

/* The maximum itself; -FLT_MAX where the window is outside. */
DN_HD float dn_maxpool_max(const dn_pool_geometry *g, const float *plane, int32_t out_y,
                           int32_t out_x)
{
    const int32_t at = dn_maxpool_argmax(g, plane, out_y, out_x);
    return at < 0 ? -FLT_MAX : plane[at];
}

#endif
