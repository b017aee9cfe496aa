/* Pooling windows: one output element of a maximum or an average, and where it came from. */
#ifndef DN_MATH_POOL_H
#define DN_MATH_POOL_H

#include "math/portable.h"

#include <float.h>

typedef struct dn_pool_geometry {
    int32_t h, w, out_h, out_w; /* of one plane */
    int32_t size, stride_x, stride_y;
    int32_t before; /* padding before the first row and column */
} dn_pool_geometry;

/* The part of a window that lies inside the plane: rows top..bottom-1, columns left..right-1. */
typedef struct dn_pool_window {
    int32_t top, bottom, left, right;
} dn_pool_window;

DN_HD dn_pool_window dn_pool_window_at(const dn_pool_geometry *g, int32_t out_y, int32_t out_x)
{
    const int32_t top = out_y * g->stride_y - g->before, left = out_x * g->stride_x - g->before;
    dn_pool_window window;
    window.top = top < 0 ? 0 : top;
    window.bottom = top + g->size < g->h ? top + g->size : g->h;
    window.left = left < 0 ? 0 : left;
    window.right = left + g->size < g->w ? left + g->size : g->w;
    return window;
}

/* The outputs of an axis whose windows hold `cell`: first..last-1. */
typedef struct dn_pool_span {
    int32_t first, last;
} dn_pool_span;

DN_HD dn_pool_span dn_pool_windows_of(int32_t cell, int32_t before, int32_t size, int32_t stride,
                                      int32_t outputs)
{
    const int32_t start = cell + before - size + 1, last = (cell + before) / stride + 1;
    dn_pool_span span;
    span.first = start <= 0 ? 0 : (start + stride - 1) / stride;
    span.last = last < outputs ? last : outputs;
    return span;
}

/* Index of the window's first maximum in `plane` (h, w); -1: the window is outside. */
DN_HD int32_t dn_maxpool_argmax(const dn_pool_geometry *g, const float *plane, int32_t out_y,
                                int32_t out_x)
{
    const dn_pool_window window = dn_pool_window_at(g, out_y, out_x);
    int32_t best = -1;
    float most = 0.0f;
    for (int32_t y = window.top; y < window.bottom; y++)
        for (int32_t x = window.left; x < window.right; x++) {
            const int32_t at = y * g->w + x;
            const float value = plane[at];
            if (best >= 0 && !(value > most)) continue;
            best = at;
            most = value;
        }
    return best;
}

/* The maximum itself, where `at` is from dn_maxpool_argmax; -FLT_MAX where the window is outside.
 */
DN_HD float dn_maxpool_value(const float *plane, int32_t at)
{
    return at < 0 ? -FLT_MAX : plane[at];
}

/* The mean of values from their sum, and what each of them gets of its gradient. */
DN_HD float dn_mean_of(double sum, int64_t count)
{
    return (float)(sum / (double)count);
}

DN_HD float dn_mean_share(float grad, int64_t count)
{
    return grad / (float)count;
}

DN_HD int32_t dn_pool_window_size(const dn_pool_window *window)
{
    return (window->bottom - window->top) * (window->right - window->left);
}

/* The mean of the samples inside; 0 where there is none. */
DN_HD float dn_pool_average(const dn_pool_geometry *g, const float *plane, int32_t out_y,
                            int32_t out_x)
{
    const dn_pool_window window = dn_pool_window_at(g, out_y, out_x);
    float sum = 0.0f;
    int32_t count = 0;
    for (int32_t y = window.top; y < window.bottom; y++)
        for (int32_t x = window.left; x < window.right; x++, count++) sum += plane[y * g->w + x];
    return count > 0 ? sum / (float)count : 0.0f;
}

#endif
