/* RoIAlign on blocked maps: the bins of some boxes, a block of channels after the other, so that a
 * block of the map comes into the cache once for all of them.
 *
 * Bilinear interpolation is separable. Each line of bins (for the maximum: of points) is a weighted
 * sum of few rows, so rows are summed first, only at the columns that are wanted; then these into
 * bins. Weights are those of all channels: they are merged and computed once a box and axis. A
 * pixel's channels of a block are one vector.
 */
#include "blocked/roi_bins.h"

#include "blocked/rows.h"
#include "blocked/vector.h"
#include "math/roialign.h"

enum { MOST_TAPS = 16 }; /* of a line: [roialign] has 8 samples at most */

/* One axis of a box: each of its lines is the sum of `taps` cells times weights. */
typedef struct roi_axis {
    int32_t lines, taps;
    float *weights;  /* (lines, taps) */
    uint32_t *cells; /* (lines, taps): indices into `used`; of columns times DN_LANES */
    uint32_t *used;  /* (used_count): cells of the map, each once; of columns times DN_LANES */
    int32_t used_count;
} roi_axis;

/* A line is a bin for the average, a point for the maximum. */
static int32_t points_of_line(const dn_roi_pool *pool)
{
    return pool->maximum ? 1 : pool->samples;
}

/* Taps of all lines; as many cells are used at most, and one. */
static int32_t axis_taps(const dn_roi_pool *pool)
{
    return 2 * pool->size * pool->samples;
}

static int64_t axis_floats(const dn_roi_pool *pool)
{
    return 3 * (int64_t)axis_taps(pool) + 1;
}

static float *place_axis(const dn_roi_pool *pool, float *scratch, roi_axis *axis)
{
    const int32_t all = axis_taps(pool);
    axis->taps = 2 * points_of_line(pool);
    axis->lines = all / axis->taps;
    axis->weights = scratch;
    axis->cells = (uint32_t *)(void *)(scratch + all);
    axis->used = axis->cells + all;
    axis->used_count = 0;
    return scratch + axis_floats(pool);
}

/* Where `cell` is among those used; cells rarely come in another order than along the axis. */
static uint32_t index_of(roi_axis *axis, uint32_t cell)
{
    int32_t i = axis->used_count - 1;
    if (i < 0 || cell > axis->used[i]) {
        axis->used[i + 1] = cell;
        return (uint32_t)axis->used_count++;
    }
    while (i >= 0 && axis->used[i] != cell) i--;
    if (i < 0) axis->used[i = axis->used_count++] = cell;
    return (uint32_t)i;
}

static int32_t add_tap(roi_axis *axis, int32_t at, int32_t count, int32_t cell, float weight)
{
    if (weight == 0.0f) return count;
    const uint32_t index = index_of(axis, (uint32_t)cell);
    for (int32_t t = at; t < at + count; t++) {
        if (axis->cells[t] != index) continue;
        axis->weights[t] += weight;
        return count;
    }
    axis->cells[at + count] = index;
    axis->weights[at + count] = weight;
    return count + 1;
}

/* Lines with fewer taps get some of weight 0 at a cell that is used anyhow. */
static void fill_axis(const dn_roi_pool *pool, float start, float step, int32_t cells,
                      roi_axis *axis)
{
    const int32_t points = points_of_line(pool);
    const float share = 1.0f / (float)points;
    for (int32_t line = 0; line < axis->lines; line++) {
        const int32_t at = line * axis->taps;
        int32_t count = 0;
        for (int32_t k = 0; k < points; k++) {
            const dn_roi_tap tap = dn_roi_tap_at(start, step, line * points + k, cells);
            count = add_tap(axis, at, count, tap.low, share * tap.low_weight);
            count = add_tap(axis, at, count, tap.high, share * tap.high_weight);
        }
        for (; count < axis->taps; count++) {
            axis->cells[at + count] = count > 0 ? axis->cells[at] : index_of(axis, 0);
            axis->weights[at + count] = 0.0f;
        }
    }
}

/* Indices of cells become distances in floats. */
static void scale_columns(roi_axis *columns)
{
    for (int32_t i = 0; i < columns->lines * columns->taps; i++) columns->cells[i] *= DN_LANES;
    for (int32_t i = 0; i < columns->used_count; i++) columns->used[i] *= DN_LANES;
}

typedef struct roi_block {
    const roi_axis *rows, *columns;
    const float *plane;
    int64_t pitch; /* floats from one row of the map to the next */
    float *line;   /* (used columns, lanes) */
    float *out;    /* (size, size, lanes) */
    int32_t size, samples;
    bool add;
} roi_block;

/* line = the weighted sum of the rows of line y, at the columns that are used. */
DN_INLINE void sum_rows(const roi_block *b, int32_t y, const int taps)
{
    const roi_axis *rows = b->rows, *columns = b->columns;
    const float *row[MOST_TAPS];
    dn_vec weights[MOST_TAPS];
#pragma GCC unroll 4
    for (int t = 0; t < taps; t++) {
        row[t] = b->plane + rows->used[rows->cells[y * taps + t]] * b->pitch;
        weights[t] = dn_vec_set(rows->weights[y * taps + t]);
    }
    for (int32_t i = 0; i < columns->used_count; i++) {
        const uint32_t at = columns->used[i];
        dn_vec sum = weights[0] * dn_vec_load(row[0] + at);
#pragma GCC unroll 4
        for (int t = 1; t < taps; t++) sum = dn_fma(weights[t], dn_vec_load(row[t] + at), sum);
        dn_vec_store(b->line + i * DN_LANES, sum);
    }
}

DN_INLINE dn_vec sum_columns(const roi_block *b, int32_t x, const int taps)
{
    const uint32_t *cells = b->columns->cells + x * taps;
    const float *weights = b->columns->weights + x * taps;
    dn_vec sum = dn_vec_set(weights[0]) * dn_vec_load(b->line + cells[0]);
#pragma GCC unroll 4
    for (int t = 1; t < taps; t++)
        sum = dn_fma(dn_vec_set(weights[t]), dn_vec_load(b->line + cells[t]), sum);
    return sum;
}

DN_INLINE void average_block(const roi_block *b, const int taps)
{
    float *to = b->out;
    for (int32_t y = 0; y < b->size; y++) {
        sum_rows(b, y, taps);
        for (int32_t x = 0; x < b->size; x++, to += DN_LANES) {
            dn_vec value = sum_columns(b, x, taps);
            if (b->add) value = value + dn_vec_load(to);
            dn_vec_store(to, value);
        }
    }
}

/* `best` (size, lanes): the largest values so far of one line of bins. */
static void maximum_block(const roi_block *b, float *best)
{
    float *to = b->out;
    for (int32_t y = 0; y < b->size * b->samples; y++) {
        const bool begins = y % b->samples == 0, ends = y % b->samples == b->samples - 1;
        sum_rows(b, y, 2);
        for (int32_t x = 0; x < b->size; x++) {
            dn_vec most = sum_columns(b, x * b->samples, 2);
            for (int32_t k = 1; k < b->samples; k++)
                most = dn_vec_max(sum_columns(b, x * b->samples + k, 2), most);
            if (!begins) most = dn_vec_max(most, dn_vec_load(best + x * DN_LANES));
            dn_vec_store(best + x * DN_LANES, most);
            if (!ends) continue;
            if (b->add) most = most + dn_vec_load(to);
            dn_vec_store(to, most);
            to += DN_LANES;
        }
    }
}

static void pool_block(const dn_roi_pool *pool, const roi_block *block, float *best)
{
    if (pool->maximum)
        maximum_block(block, best);
    else if (pool->samples == 2)
        average_block(block, 4);
    else
        average_block(block, 2 * pool->samples);
}

int64_t DN_ISA_NAME(dn_roi_bins_scratch)(const dn_roi_pool *pool)
{
    const int64_t line = (axis_taps(pool) + 1) * DN_LANES, best = pool->size * DN_LANES;
    return (2 * DN_ROIS_AT_ONCE * axis_floats(pool) + line + best) * (int64_t)sizeof(float);
}

void DN_ISA_NAME(dn_roi_bins)(const dn_roi_bins_call *call, const dn_blocked *map,
                              const dn_blocked *out, int32_t first_block, int32_t last_block,
                              void *scratch)
{
    const dn_roi_pool *pool = &call->pool;
    const int32_t points = pool->size * pool->samples;
    roi_axis rows[DN_ROIS_AT_ONCE], columns[DN_ROIS_AT_ONCE];
    float *rest = scratch;
    for (int32_t i = 0; i < call->count; i++) {
        const dn_roi_grid grid =
            dn_roi_grid_of(call->boxes[i].box, call->map.scale_x, call->map.scale_y, points);
        rest = place_axis(pool, place_axis(pool, rest, &rows[i]), &columns[i]);
        fill_axis(pool, grid.start_y, grid.step_y, map->h, &rows[i]);
        fill_axis(pool, grid.start_x, grid.step_x, map->w, &columns[i]);
        scale_columns(&columns[i]);
    }
    roi_block block = {.pitch = (int64_t)map->w * DN_LANES,
                       .line = rest + pool->size * DN_LANES,
                       .size = pool->size,
                       .samples = pool->samples,
                       .add = call->add};
    for (int32_t b = first_block; b < last_block; b++)
        for (int32_t i = 0; i < call->count; i++) {
            block.rows = &rows[i];
            block.columns = &columns[i];
            block.plane = dn_block_row(map, call->boxes[i].image, b, 0, DN_LANES);
            block.out = dn_block_row(out, call->boxes[i].roi, b, 0, DN_LANES);
            pool_block(pool, &block, rest);
        }
}
