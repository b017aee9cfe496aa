/* RoIAlign on blocked maps: the bins of some boxes, a block of channels after the other, so that a
 * block of the map comes into the cache once for all of them. What is needed next is asked for
 * early: memory, not arithmetic, bounds the time.
 *
 * Bilinear interpolation is separable: along either axis each line of bins (for the maximum: of
 * points) is a weighted sum of few cells. First each row of the map that a box needs is summed
 * along x, then these sums along y. Weights are those of all channels: they are merged and computed
 * once a box and axis. A cell's channels of a block are one vector.
 */
#include "blocked/roi_bins.h"

#include "blocked/roi_lines.h"
#include "blocked/rows.h"
#include "blocked/vector.h"

enum {
    MOST_TAPS = 16,   /* of a line: [roialign] has 8 samples at most */
    ROWS = 4,         /* summed along x together: places and weights are read once for them */
    LINE_FLOATS = 16, /* of a cache line */
};

/* What one box needs of one block of channels. */
typedef struct roi_block {
    const dn_roi_lines *rows, *columns;
    const float *plane; /* of the map */
    int64_t pitch;      /* floats from one row of the map to the next */
    float *sums;        /* (used rows, lines of columns, lanes) */
    float *out;         /* (size, size, lanes) */
    const float *ahead; /* of the map: what the next block needs */
    int64_t next_out;   /* floats from `out` to the bins of the next box */
    int32_t size, samples;
    bool add;
} roi_block;

/* The sums along x of `rows` used rows from `first` on. */
DN_INLINE void sum_along_x(const roi_block *b, int32_t first, const int rows, const int taps)
{
    const float *row[ROWS], *weights = b->columns->weights;
    const int32_t *cells = b->columns->cells;
    const int64_t pitch = b->columns->lines * DN_LANES;
    float *to = b->sums + first * pitch;
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) row[r] = b->plane + b->rows->used[first + r] * b->pitch;
    for (int32_t x = 0; x < b->columns->lines; x++, cells += taps, weights += taps) {
        dn_vec sums[ROWS];
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) sums[r] = dn_vec_set(0.0f);
#pragma GCC unroll 4
        for (int t = 0; t < taps; t++) {
            const dn_vec weight = dn_vec_set(weights[t]);
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++)
                sums[r] = dn_fma(weight, dn_vec_load(row[r] + cells[t] * DN_LANES), sums[r]);
        }
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) dn_vec_store(to + r * pitch + x * DN_LANES, sums[r]);
    }
}

DN_INLINE void sum_rows(const roi_block *b, const int taps)
{
    int32_t first = 0;
    for (; first + ROWS <= b->rows->used_count; first += ROWS) sum_along_x(b, first, ROWS, taps);
    for (; first < b->rows->used_count; first++) sum_along_x(b, first, 1, taps);
}

/* The taps of a line along y: where its sums along x begin, and weights. */
typedef struct roi_line {
    const float *from[MOST_TAPS];
    dn_vec weights[MOST_TAPS];
} roi_line;

DN_INLINE void find_line(const roi_block *b, int32_t line, const int taps, roi_line *found)
{
    const int64_t pitch = b->columns->lines * DN_LANES;
#pragma GCC unroll 4
    for (int t = 0; t < taps; t++) {
        found->from[t] = b->sums + b->rows->cells[line * taps + t] * pitch;
        found->weights[t] = dn_vec_set(b->rows->weights[line * taps + t]);
    }
}

DN_INLINE dn_vec sum_along_y(const roi_line *line, int64_t at, const int taps)
{
    dn_vec sum = line->weights[0] * dn_vec_load(line->from[0] + at);
#pragma GCC unroll 4
    for (int t = 1; t < taps; t++)
        sum = dn_fma(line->weights[t], dn_vec_load(line->from[t] + at), sum);
    return sum;
}

/* A cache line of the map for each bin of line y, and the next box's line of bins. */
DN_INLINE void ask_ahead(const roi_block *b, int32_t y)
{
    const float *map = b->ahead + (int64_t)y * b->size * LINE_FLOATS;
    const float *bins = b->out + b->next_out + (int64_t)y * b->size * DN_LANES;
    for (int32_t x = 0; x < b->size; x++) __builtin_prefetch(map + x * LINE_FLOATS, 0, 2);
    for (int32_t i = 0; i < b->size * DN_LANES; i += LINE_FLOATS)
        __builtin_prefetch(bins + i, 1, 3);
}

DN_INLINE void average_bins(const roi_block *b, const int taps, const bool add)
{
    const int32_t size = b->size;
    float *to = b->out;
    for (int32_t y = 0; y < size; y++) {
        roi_line line;
        find_line(b, y, taps, &line);
        ask_ahead(b, y);
        for (int32_t x = 0; x < size; x++, to += DN_LANES) {
            dn_vec sum = sum_along_y(&line, x * DN_LANES, taps);
            if (add) sum = sum + dn_vec_load(to);
            dn_vec_store(to, sum);
        }
    }
}

DN_INLINE void average(const roi_block *b, const int taps)
{
    if (b->add)
        average_bins(b, taps, true);
    else
        average_bins(b, taps, false);
}

DN_INLINE void maximum(const roi_block *b, const int samples)
{
    float *to = b->out;
    for (int32_t y = 0; y < b->size; y++) {
        roi_line lines[MOST_TAPS / 2];
        ask_ahead(b, y);
#pragma GCC unroll 2
        for (int j = 0; j < samples; j++) find_line(b, y * samples + j, 2, &lines[j]);
        for (int32_t x = 0; x < b->size; x++, to += DN_LANES) {
            const int64_t at = (int64_t)x * samples * DN_LANES;
            dn_vec most = sum_along_y(&lines[0], at, 2);
#pragma GCC unroll 4
            for (int i = 1; i < samples * samples; i++) {
                const dn_vec value =
                    sum_along_y(&lines[i / samples], at + i % samples * DN_LANES, 2);
                most = dn_vec_max(value, most);
            }
            if (b->add) most = most + dn_vec_load(to);
            dn_vec_store(to, most);
        }
    }
}

static void pool_block(const dn_roi_pool *pool, const roi_block *block)
{
    switch (block->columns->taps) {
    case 2:
        sum_rows(block, 2);
        break;
    case 3:
        sum_rows(block, 3);
        break;
    case 4:
        sum_rows(block, 4);
        break;
    default:
        sum_rows(block, block->columns->taps);
    }
    if (pool->maximum) {
        if (pool->samples == 2)
            maximum(block, 2);
        else
            maximum(block, pool->samples);
        return;
    }
    switch (block->rows->taps) {
    case 2:
        average(block, 2);
        break;
    case 3:
        average(block, 3);
        break;
    case 4:
        average(block, 4);
        break;
    default:
        average(block, block->rows->taps);
    }
}

int64_t DN_ISA_NAME(dn_roi_bins_scratch)(const dn_roi_pool *pool, int32_t map_h)
{
    const int64_t taps = dn_roi_lines_taps(pool), rows = taps < map_h ? taps : map_h;
    const int64_t floats = 2 * DN_ROIS_AT_ONCE * dn_roi_lines_floats(pool) +
                           rows * dn_roi_lines_count(pool) * DN_LANES;
    return floats * (int64_t)sizeof(float);
}

void DN_ISA_NAME(dn_roi_bins)(const dn_roi_bins_call *call, const dn_blocked *map,
                              const dn_blocked *out, int32_t first_block, int32_t last_block,
                              void *scratch)
{
    const dn_roi_pool *pool = &call->pool;
    const int32_t points = pool->size * pool->samples;
    dn_roi_lines rows[DN_ROIS_AT_ONCE], columns[DN_ROIS_AT_ONCE];
    float *rest = scratch;
    for (int32_t i = 0; i < call->count; i++) {
        const dn_roi_grid grid =
            dn_roi_grid_of(call->boxes[i].box, call->map.scale_x, call->map.scale_y, points);
        rest = dn_roi_lines_place(pool, dn_roi_lines_place(pool, rest, &rows[i]), &columns[i]);
        dn_roi_lines_fill(pool, grid.start_y, grid.step_y, map->h, &rows[i]);
        dn_roi_lines_fill(pool, grid.start_x, grid.step_x, map->w, &columns[i]);
        dn_roi_lines_list(&rows[i]);
    }
    roi_block block = {.pitch = (int64_t)map->w * DN_LANES,
                       .sums = rest,
                       .size = pool->size,
                       .samples = pool->samples,
                       .add = call->add};
    const int64_t plane = block.pitch * map->h;
    for (int32_t b = first_block; b < last_block; b++)
        for (int32_t i = 0; i < call->count; i++) {
            const int32_t next = i + 1 < call->count ? i + 1 : i;
            block.rows = &rows[i];
            block.columns = &columns[i];
            block.plane = dn_block_row(map, call->boxes[i].image, b, 0, DN_LANES);
            block.ahead = block.plane + (b + 1 < last_block ? plane : 0) + plane * i / call->count;
            block.out = dn_block_row(out, call->boxes[i].roi, b, 0, DN_LANES);
            block.next_out = (call->boxes[next].roi - call->boxes[i].roi) * out->image_stride;
            pool_block(pool, &block);
        }
}
