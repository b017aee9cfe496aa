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

/* What one box needs of one or two blocks of channels. */
typedef struct roi_block {
    const roi_axis *rows, *columns;
    const float *plane;                      /* of the map */
    int64_t pitch;                           /* floats from one row of the map to the next */
    float *line;                             /* (blocks, used columns at most, lanes) */
    float *best;                             /* (blocks, size, lanes) */
    float *out;                              /* (size, size, lanes) */
    int64_t next_plane, next_line, next_out; /* floats to those of the second block */
    int32_t size, samples;
    bool add;
} roi_block;

enum { BLOCKS = 2 }; /* at a time: indices and weights are read once for both */

/* line = the weighted sum of the rows of line y, at the columns that are used. */
DN_INLINE void sum_rows(const roi_block *b, int32_t y, const int blocks, const int taps)
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
#pragma GCC unroll 2
        for (int k = 0; k < blocks; k++) {
            const int64_t at = columns->used[i] + k * b->next_plane;
            dn_vec sum = weights[0] * dn_vec_load(row[0] + at);
#pragma GCC unroll 4
            for (int t = 1; t < taps; t++) sum = dn_fma(weights[t], dn_vec_load(row[t] + at), sum);
            dn_vec_store(b->line + k * b->next_line + i * DN_LANES, sum);
        }
    }
}

/* sums (blocks) of line x of the columns. */
DN_INLINE void sum_columns(const roi_block *b, int32_t x, const int blocks, const int taps,
                           dn_vec *sums)
{
    const uint32_t *cells = b->columns->cells + x * taps;
    const float *weights = b->columns->weights + x * taps;
#pragma GCC unroll 2
    for (int k = 0; k < blocks; k++) sums[k] = dn_vec_set(0.0f);
#pragma GCC unroll 4
    for (int t = 0; t < taps; t++) {
        const dn_vec weight = dn_vec_set(weights[t]);
        const float *from = b->line + cells[t];
#pragma GCC unroll 2
        for (int k = 0; k < blocks; k++)
            sums[k] = dn_fma(weight, dn_vec_load(from + k * b->next_line), sums[k]);
    }
}

DN_INLINE void average_blocks(const roi_block *b, const int blocks, const int taps)
{
    float *to = b->out;
    dn_vec values[BLOCKS];
    for (int32_t y = 0; y < b->size; y++) {
        sum_rows(b, y, blocks, taps);
        for (int32_t x = 0; x < b->size; x++, to += DN_LANES) {
            sum_columns(b, x, blocks, taps, values);
#pragma GCC unroll 2
            for (int k = 0; k < blocks; k++) {
                float *at = to + k * b->next_out;
                if (b->add) values[k] = values[k] + dn_vec_load(at);
                dn_vec_store(at, values[k]);
            }
        }
    }
}

/* `best` holds the largest values so far of one line of bins. */
DN_INLINE void maximum_blocks(const roi_block *b, const int blocks)
{
    float *to = b->out;
    dn_vec most[BLOCKS], values[BLOCKS];
    for (int32_t y = 0; y < b->size * b->samples; y++) {
        const bool begins = y % b->samples == 0, ends = y % b->samples == b->samples - 1;
        sum_rows(b, y, blocks, 2);
        for (int32_t x = 0; x < b->size; x++) {
            sum_columns(b, x * b->samples, blocks, 2, most);
            for (int32_t point = 1; point < b->samples; point++) {
                sum_columns(b, x * b->samples + point, blocks, 2, values);
                for (int k = 0; k < blocks; k++) most[k] = dn_vec_max(values[k], most[k]);
            }
            for (int k = 0; k < blocks; k++) {
                float *best = b->best + (k * b->size + x) * DN_LANES, *at = to + k * b->next_out;
                if (!begins) most[k] = dn_vec_max(most[k], dn_vec_load(best));
                dn_vec_store(best, most[k]);
                if (ends && b->add) most[k] = most[k] + dn_vec_load(at);
                if (ends) dn_vec_store(at, most[k]);
            }
            if (ends) to += DN_LANES;
        }
    }
}

static void pool_blocks(const dn_roi_pool *pool, const roi_block *block, int32_t blocks)
{
    if (pool->maximum && blocks == 2)
        maximum_blocks(block, 2);
    else if (pool->maximum)
        maximum_blocks(block, 1);
    else if (pool->samples == 2 && blocks == 2)
        average_blocks(block, 2, 4);
    else
        for (int32_t k = 0; k < blocks; k++) {
            roi_block one = *block;
            one.plane += k * block->next_plane;
            one.out += k * block->next_out;
            average_blocks(&one, 1, 2 * pool->samples);
        }
}

int64_t DN_ISA_NAME(dn_roi_bins_scratch)(const dn_roi_pool *pool)
{
    const int64_t line = (axis_taps(pool) + 1) * DN_LANES, best = pool->size * DN_LANES;
    const int64_t floats = 2 * DN_ROIS_AT_ONCE * axis_floats(pool) + BLOCKS * (line + best);
    return floats * (int64_t)sizeof(float);
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
                       .best = rest,
                       .line = rest + BLOCKS * pool->size * DN_LANES,
                       .next_plane = (int64_t)map->h * map->w * DN_LANES,
                       .next_line = (axis_taps(pool) + 1) * DN_LANES,
                       .next_out = (int64_t)out->h * out->w * DN_LANES,
                       .size = pool->size,
                       .samples = pool->samples,
                       .add = call->add};
    for (int32_t b = first_block; b < last_block; b += BLOCKS)
        for (int32_t i = 0; i < call->count; i++) {
            block.rows = &rows[i];
            block.columns = &columns[i];
            block.plane = dn_block_row(map, call->boxes[i].image, b, 0, DN_LANES);
            block.out = dn_block_row(out, call->boxes[i].roi, b, 0, DN_LANES);
            pool_blocks(pool, &block, last_block - b < BLOCKS ? 1 : BLOCKS);
        }
}
