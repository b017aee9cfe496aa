/* The index mapping of [reorg] and [reorg3d]: which value of the large map an element of the deep
 * one is. */
#ifndef DN_MATH_REORG_H
#define DN_MATH_REORG_H

#include "math/portable.h"

typedef struct dn_reorg_geometry {
    int32_t c, h, w; /* the deep map: c is a multiple of stride * stride */
    int32_t stride;  /* the large map is (c / stride^2, h * stride, w * stride) */
} dn_reorg_geometry;

/* Element `at` of the deep map, in memory order, is this element of the large one. */
DN_HD int64_t dn_reorg_source(const dn_reorg_geometry *g, int64_t at)
{
    const int32_t s = g->stride, channels = g->c / (s * s);
    const int32_t i = (int32_t)(at % g->w);
    const int32_t j = (int32_t)(at / g->w % g->h);
    const int32_t k = (int32_t)(at / g->w / g->h);
    const int32_t part = k / channels;
    const int64_t x = (int64_t)i * s + part % s, y = (int64_t)j * s + part / s;
    return x + (int64_t)g->w * s * (y + (int64_t)g->h * s * (k % channels));
}

#endif
