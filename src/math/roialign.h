/* RoIAlign (He et al. 2017), aligned: the geometry and one output element.
 *
 * A box in cells is the box in pixels times (cells / pixels), minus .5, because cell i has its
 * centre at i + .5; no minimum size. It is cut into size x size bins of samples x samples points;
 * point k of an axis lies at start + (k + .5) * step, k in 0..size*samples-1. A point's value is
 * interpolated bilinearly from its four neighbours, clamped to the map's border up to one cell
 * outside, and 0 farther out. A bin is the average or the maximum of its points (interpolate, then
 * take the maximum; of equal points the first in row-major order).
 */
#ifndef DN_MATH_ROIALIGN_H
#define DN_MATH_ROIALIGN_H

#include "math/portable.h"

/* Where the points of one box lie on one map, in cells. */
typedef struct dn_roi_grid {
    float start_x, start_y, step_x, step_y;
} dn_roi_grid;

/* A point's two neighbours on one axis. */
typedef struct dn_roi_tap {
    int32_t low, high;
    float low_weight, high_weight; /* both 0: outside */
} dn_roi_tap;

/* x0, y0, x1, y1 in pixels; scale: cells a pixel; points: size * samples. */
DN_HD dn_roi_grid dn_roi_grid_of(const float box[4], float scale_x, float scale_y, int32_t points)
{
    dn_roi_grid grid;
    grid.start_x = box[0] * scale_x - 0.5f;
    grid.start_y = box[1] * scale_y - 0.5f;
    grid.step_x = (box[2] * scale_x - 0.5f - grid.start_x) / (float)points;
    grid.step_y = (box[3] * scale_y - 0.5f - grid.start_y) / (float)points;
    return grid;
}

DN_HD dn_roi_tap dn_roi_tap_at(float start, float step, int32_t k, int32_t cells)
{
    const float position = start + ((float)k + 0.5f) * step;
    dn_roi_tap tap = {0, 0, 0.0f, 0.0f};
    if (!(position >= -1.0f && position <= (float)cells)) return tap;
    const float clamped = position > 0.0f ? position : 0.0f;
    tap.low = (int32_t)clamped;
    if (tap.low >= cells - 1) {
        tap.low = tap.high = cells - 1;
        tap.low_weight = 1.0f;
    } else {
        tap.high = tap.low + 1;
        tap.high_weight = clamped - (float)tap.low;
        tap.low_weight = 1.0f - tap.high_weight;
    }
    return tap;
}

/* The value at a point of `plane` (rows of w). */
DN_HD float dn_roi_point(const float *plane, int32_t w, dn_roi_tap y, dn_roi_tap x)
{
    const float *low = plane + (int64_t)y.low * w, *high = plane + (int64_t)y.high * w;
    return y.low_weight * (x.low_weight * low[x.low] + x.high_weight * low[x.high]) +
           y.high_weight * (x.low_weight * high[x.low] + x.high_weight * high[x.high]);
}

/* Bin (bin_y, bin_x) of one box on one plane (h, w): the average of its points. */
DN_HD float dn_roi_average(const dn_roi_grid *grid, const float *plane, int32_t h, int32_t w,
                           int32_t samples, int32_t bin_y, int32_t bin_x)
{
    float sum = 0.0f;
    for (int32_t j = 0; j < samples; j++) {
        const dn_roi_tap y = dn_roi_tap_at(grid->start_y, grid->step_y, bin_y * samples + j, h);
        for (int32_t i = 0; i < samples; i++)
            sum += dn_roi_point(plane, w, y,
                                dn_roi_tap_at(grid->start_x, grid->step_x, bin_x * samples + i, w));
    }
    return sum / (float)(samples * samples);
}

/* The same with the maximum; *winner = its point j * samples + i, whose neighbours get the
 * gradient. */
DN_HD float dn_roi_maximum(const dn_roi_grid *grid, const float *plane, int32_t h, int32_t w,
                           int32_t samples, int32_t bin_y, int32_t bin_x, int32_t *winner)
{
    float best = 0.0f;
    for (int32_t j = 0; j < samples; j++) {
        const dn_roi_tap y = dn_roi_tap_at(grid->start_y, grid->step_y, bin_y * samples + j, h);
        for (int32_t i = 0; i < samples; i++) {
            const dn_roi_tap x = dn_roi_tap_at(grid->start_x, grid->step_x, bin_x * samples + i, w);
            const float value = dn_roi_point(plane, w, y, x);
            if ((i > 0 || j > 0) && value <= best) continue;
            best = value;
            *winner = j * samples + i;
        }
    }
    return best;
}

#endif
