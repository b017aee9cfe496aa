/* Products of a map with scales: which scale belongs to an element. */
#ifndef DN_MATH_SCALE_H
#define DN_MATH_SCALE_H

#include "math/portable.h"

typedef enum dn_scale_kind {
    DN_SCALE_CHANNEL, /* scales (n, c, 1, 1) */
    DN_SCALE_PIXEL,   /* scales (n, 1, h, w) */
    DN_SCALE_VALUE,   /* scales (n, c, h, w) */
} dn_scale_kind;

typedef struct dn_scale_geometry {
    dn_scale_kind kind;
    int32_t c;
    int64_t plane; /* h * w */
} dn_scale_geometry;

/* Index of the scale of element `i` of plane `row` = image * c + channel. */
DN_HD int64_t dn_scale_index(const dn_scale_geometry *g, int64_t row, int64_t i)
{
    switch (g->kind) {
    case DN_SCALE_CHANNEL:
        return row;
    case DN_SCALE_PIXEL:
        return row / g->c * g->plane + i;
    case DN_SCALE_VALUE:
        return row * g->plane + i;
    }
    return 0;
}

#endif
