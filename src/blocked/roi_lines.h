/* The lines of one axis of a box on a map (math/roi_line.h), each with as many taps. Only for
 * roi_bins.c: a box's lines are filled once and serve all blocks of channels.
 */
#ifndef DN_BLOCKED_ROI_LINES_H
#define DN_BLOCKED_ROI_LINES_H

#include "math/roi_line.h"
#include "math/roi_pool.h"

typedef struct dn_roi_lines {
    int32_t lines, taps;
    float *weights; /* (lines, taps) */
    int32_t *cells; /* (lines, taps): of the map or, when they are listed, of `used` */
    int32_t *used;  /* (used_count): cells of the map, each once */
    int32_t used_count;
} dn_roi_lines;

/* A line is a bin for the average, a point for the maximum. */
static inline int32_t dn_roi_lines_points(const dn_roi_pool *pool)
{
    return pool->maximum ? 1 : pool->samples;
}

static inline int32_t dn_roi_lines_count(const dn_roi_pool *pool)
{
    return pool->size * pool->samples / dn_roi_lines_points(pool);
}

/* Of all lines, at most; as many cells are used at most. */
static inline int32_t dn_roi_lines_taps(const dn_roi_pool *pool)
{
    return 2 * pool->size * pool->samples;
}

static inline int64_t dn_roi_lines_floats(const dn_roi_pool *pool)
{
    return 3 * (int64_t)dn_roi_lines_taps(pool);
}

/* Points the axis's arrays into the scratch; returns what follows them. */
static inline float *dn_roi_lines_place(const dn_roi_pool *pool, float *scratch, dn_roi_lines *axis)
{
    const int32_t all = dn_roi_lines_taps(pool);
    axis->lines = dn_roi_lines_count(pool);
    axis->weights = scratch;
    axis->cells = (int32_t *)(void *)(scratch + all);
    axis->used = axis->cells + all;
    return scratch + dn_roi_lines_floats(pool);
}

/* All lines get as many taps as the one with most, those behind their own with weight 0 at a cell
 * that they use anyhow; two at least, for fewer kinds of loops. */
static inline void dn_roi_lines_fill(const dn_roi_pool *pool, float start, float step,
                                     int32_t cells, dn_roi_lines *axis)
{
    const int32_t points = dn_roi_lines_points(pool), most = 2 * points;
    axis->taps = 2;
    for (int32_t line = 0; line < axis->lines; line++) {
        int32_t *at = axis->cells + line * most;
        float *weights = axis->weights + line * most;
        const int32_t taps =
            dn_roi_line_taps(start, step, line * points, points, cells, at, weights);
        if (taps > axis->taps) axis->taps = taps;
        for (int32_t t = taps; t < most; t++) {
            at[t] = taps > 0 ? at[0] : 0;
            weights[t] = 0.0f;
        }
    }
    for (int32_t line = 0; line < axis->lines; line++)
        for (int32_t t = 0; t < axis->taps; t++) {
            axis->cells[line * axis->taps + t] = axis->cells[line * most + t];
            axis->weights[line * axis->taps + t] = axis->weights[line * most + t];
        }
}

/* Lists the cells that are used; most are among the last ones there. */
static inline void dn_roi_lines_list(dn_roi_lines *axis)
{
    axis->used_count = 0;
    for (int32_t i = 0; i < axis->lines * axis->taps; i++) {
        int32_t index = axis->used_count - 1;
        while (index >= 0 && axis->used[index] != axis->cells[i]) index--;
        if (index < 0) axis->used[index = axis->used_count++] = axis->cells[i];
        axis->cells[i] = index;
    }
}

#endif
