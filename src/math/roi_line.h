/* One line of bins or points along an axis of RoIAlign, as a weighted sum of cells.
 *
 * The average of `points` points, each of which lies between two cells: weights at the same cell
 * are added, cells of weight 0 left out, so that a line has as few taps as can be.
 */
#ifndef DN_MATH_ROI_LINE_H
#define DN_MATH_ROI_LINE_H

#include "math/roialign.h"

static inline int32_t dn_roi_add_tap(int32_t cell, float weight, int32_t count, int32_t *at,
                                     float *weights)
{
    if (weight == 0.0f) return count;
    for (int32_t t = 0; t < count; t++) {
        if (at[t] != cell) continue;
        weights[t] += weight;
        return count;
    }
    at[count] = cell;
    weights[count] = weight;
    return count + 1;
}

/* Of points first..first+points-1 of the axis; returns the number of taps, 2 * points at most. */
static inline int32_t dn_roi_line_taps(float start, float step, int32_t first, int32_t points,
                                       int32_t cells, int32_t *at, float *weights)
{
    const float share = 1.0f / (float)points;
    int32_t count = 0;
    for (int32_t k = 0; k < points; k++) {
        const dn_roi_tap tap = dn_roi_tap_at(start, step, first + k, cells);
        count = dn_roi_add_tap(tap.low, share * tap.low_weight, count, at, weights);
        count = dn_roi_add_tap(tap.high, share * tap.high_weight, count, at, weights);
    }
    return count;
}

#endif
