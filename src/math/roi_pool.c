/* RoIAlign on the CPU: see roi_pool.h. */
#include "math/roi_pool.h"

#include "math/roi_line.h"

#include <string.h>

/* One axis of one box on one map: each line is a weighted sum of cells. */
typedef struct dn_roi_axis {
    int32_t lines;       /* bins, or points for the maximum */
    int32_t capacity;    /* of a line's taps, even */
    int32_t first, last; /* cells first..last-1 hold all that are used */
    int32_t *pairs;      /* (lines): taps / 2; a single last tap is paired with weight 0 */
    int32_t *cells;      /* (lines, capacity) */
    float *weights;      /* (lines, capacity) */
    bool *used;          /* (cells of the axis) */
} dn_roi_axis;

static int32_t points_of_line(const dn_roi_pool *pool)
{
    return pool->maximum ? 1 : pool->samples;
}

static int32_t lines_of_axis(const dn_roi_pool *pool)
{
    return pool->maximum ? pool->size * pool->samples : pool->size;
}

static int64_t axis_floats(const dn_roi_pool *pool, int32_t cells)
{
    return (int64_t)lines_of_axis(pool) * (1 + 4 * points_of_line(pool)) + cells;
}

int64_t dn_roi_pool_scratch(const dn_roi_pool *pool, const dn_roi_map *map)
{
    const int64_t forward = ((int64_t)map->w + pool->size) * pool->channels + pool->channels;
    const int64_t backward = map->w;
    return axis_floats(pool, map->w) + axis_floats(pool, map->h) +
           (forward > backward ? forward : backward);
}

/* Points the axis's arrays into the scratch; returns what follows them. */
static float *place_axis(const dn_roi_pool *pool, int32_t cells, float *scratch, dn_roi_axis *axis)
{
    axis->lines = lines_of_axis(pool);
    axis->capacity = 2 * points_of_line(pool);
    const int64_t taps = (int64_t)axis->lines * axis->capacity;
    axis->weights = scratch;
    axis->cells = (int32_t *)(void *)(scratch + taps);
    axis->pairs = axis->cells + taps;
    axis->used = (bool *)(void *)(axis->pairs + axis->lines);
    memset(axis->used, 0, (size_t)cells * sizeof *axis->used);
    return scratch + axis_floats(pool, cells);
}

static void fill_axis(const dn_roi_pool *pool, float start, float step, int32_t cells,
                      dn_roi_axis *axis)
{
    const int32_t points = points_of_line(pool);
    axis->first = cells;
    axis->last = 0;
    for (int32_t line = 0; line < axis->lines; line++) {
        int32_t *at = axis->cells + (int64_t)line * axis->capacity;
        float *weights = axis->weights + (int64_t)line * axis->capacity;
        const int32_t count =
            dn_roi_line_taps(start, step, line * points, points, cells, at, weights);
        for (int32_t t = 0; t < count; t++) {
            axis->used[at[t]] = true;
            if (at[t] < axis->first) axis->first = at[t];
            if (at[t] >= axis->last) axis->last = at[t] + 1;
        }
        if (count % 2 == 1) {
            at[count] = at[count - 1];
            weights[count] = 0.0f;
        }
        axis->pairs[line] = (count + 1) / 2;
    }
}

void dn_roi_channels_last(const float *in, int32_t channels, int64_t spatial, int32_t threads,
                          float *out)
{
    enum { BLOCK = 64 }; /* cells: a block's rows stay in the first-level cache */
    const int64_t blocks = (spatial + BLOCK - 1) / BLOCK;
#pragma omp parallel for num_threads(threads)
    for (int64_t block = 0; block < blocks; block++) {
        const int64_t first = block * BLOCK;
        const int64_t last = first + BLOCK < spatial ? first + BLOCK : spatial;
        for (int32_t c = 0; c < channels; c++)
            for (int64_t s = first; s < last; s++) out[s * channels + c] = in[c * spatial + s];
    }
}

/* to (n) = the weighted sum of one line's cells; cell i's values are at from + i * pitch. */
static void sum_line(const dn_roi_axis *axis, int32_t line, const float *from, int64_t pitch,
                     int32_t n, float *restrict to)
{
    const int32_t *cells = axis->cells + (int64_t)line * axis->capacity;
    const float *weights = axis->weights + (int64_t)line * axis->capacity;
    if (axis->pairs[line] == 0) memset(to, 0, (size_t)n * sizeof *to);
    for (int32_t p = 0; p < axis->pairs[line]; p++) {
        const float *restrict a = from + cells[2 * p] * pitch;
        const float *restrict b = from + cells[2 * p + 1] * pitch;
        const float wa = weights[2 * p], wb = weights[2 * p + 1];
        if (p == 0)
            for (int32_t i = 0; i < n; i++) to[i] = wa * a[i] + wb * b[i];
        else
            for (int32_t i = 0; i < n; i++) to[i] += wa * a[i] + wb * b[i];
    }
}

static void keep_larger(const float *restrict value, int32_t n, float *restrict best)
{
    for (int32_t i = 0; i < n; i++) best[i] = value[i] > best[i] ? value[i] : best[i];
}

void dn_roi_pool_forward(const dn_roi_pool *pool, const dn_roi_map *map, const float box[4],
                         const float *cells, float *scratch, float *pooled)
{
    const int32_t c = pool->channels, size = pool->size;
    const dn_roi_grid grid = dn_roi_grid_of(box, map->scale_x, map->scale_y, size * pool->samples);
    dn_roi_axis rows, columns;
    scratch = place_axis(pool, map->h, scratch, &rows);
    scratch = place_axis(pool, map->w, scratch, &columns);
    fill_axis(pool, grid.start_y, grid.step_y, map->h, &rows);
    fill_axis(pool, grid.start_x, grid.step_x, map->w, &columns);
    float *line = scratch;                    /* (w, c): one line of bins, all its cells */
    float *bins = line + (int64_t)map->w * c; /* (size, c) */
    float *point = bins + (int64_t)size * c;  /* (c) */
    const int32_t lines = rows.lines / size;  /* lines of one bin on each axis */
    for (int32_t y = 0; y < rows.lines; y++) {
        for (int32_t x = columns.first; x < columns.last; x++)
            if (columns.used[x])
                sum_line(&rows, y, cells + (int64_t)x * c, (int64_t)map->w * c, c,
                         line + (int64_t)x * c);
        for (int32_t x = 0; x < columns.lines; x++) {
            float *bin = bins + (int64_t)(x / lines) * c;
            const bool first = y % lines == 0 && x % lines == 0;
            sum_line(&columns, x, line, c, c, first ? bin : point);
            if (!first) keep_larger(point, c, bin);
        }
        if (y % lines != lines - 1) continue;
        float *restrict to = pooled + (int64_t)(y / lines) * size * c;
        for (int32_t i = 0; i < size * c; i++) to[i] += bins[i];
    }
}

/* One plane's gradient of an average: columns first, then rows. `line` is (w). */
static void average_backward(const dn_roi_axis *rows, const dn_roi_axis *columns, int32_t w,
                             const float *pooled_grad, float *line, float *grad)
{
    for (int32_t y = 0; y < rows->lines; y++) {
        memset(line, 0, (size_t)w * sizeof *line);
        for (int32_t x = 0; x < columns->lines; x++) {
            const int64_t at = (int64_t)x * columns->capacity;
            const float g = pooled_grad[(int64_t)y * columns->lines + x];
            for (int32_t t = 0; t < 2 * columns->pairs[x]; t++)
                line[columns->cells[at + t]] += columns->weights[at + t] * g;
        }
        const int64_t at = (int64_t)y * rows->capacity;
        for (int32_t t = 0; t < 2 * rows->pairs[y]; t++) {
            const float weight = rows->weights[at + t];
            float *restrict to = grad + (int64_t)rows->cells[at + t] * w;
            for (int32_t x = columns->first; x < columns->last; x++) to[x] += weight * line[x];
        }
    }
}

/* One plane's gradient of a maximum: to the neighbours of the winning point of each bin. */
static void maximum_backward(const dn_roi_pool *pool, const dn_roi_map *map,
                             const dn_roi_grid *grid, const float *plane, const float *pooled_grad,
                             float *grad)
{
    for (int32_t y = 0; y < pool->size; y++) {
        for (int32_t x = 0; x < pool->size; x++) {
            const int32_t samples = pool->samples;
            int32_t winner = 0;
            dn_roi_maximum(grid, plane, map->h, map->w, samples, y, x, &winner);
            const dn_roi_tap ty =
                dn_roi_tap_at(grid->start_y, grid->step_y, y * samples + winner / samples, map->h);
            const dn_roi_tap tx =
                dn_roi_tap_at(grid->start_x, grid->step_x, x * samples + winner % samples, map->w);
            const float g = pooled_grad[(int64_t)y * pool->size + x];
            float *low = grad + (int64_t)ty.low * map->w, *high = grad + (int64_t)ty.high * map->w;
            low[tx.low] += g * ty.low_weight * tx.low_weight;
            low[tx.high] += g * ty.low_weight * tx.high_weight;
            high[tx.low] += g * ty.high_weight * tx.low_weight;
            high[tx.high] += g * ty.high_weight * tx.high_weight;
        }
    }
}

void dn_roi_pool_backward(const dn_roi_pool *pool, const dn_roi_map *map, const float box[4],
                          const float *cells, const float *pooled_grad, int32_t first, int32_t last,
                          float *scratch, float *grad)
{
    const int64_t plane = (int64_t)map->h * map->w, bins = (int64_t)pool->size * pool->size;
    const dn_roi_grid grid =
        dn_roi_grid_of(box, map->scale_x, map->scale_y, pool->size * pool->samples);
    if (pool->maximum) {
        for (int32_t c = first; c < last; c++)
            maximum_backward(pool, map, &grid, cells + c * plane, pooled_grad + c * bins,
                             grad + c * plane);
        return;
    }
    dn_roi_axis rows, columns;
    scratch = place_axis(pool, map->h, scratch, &rows);
    float *line = place_axis(pool, map->w, scratch, &columns);
    fill_axis(pool, grid.start_y, grid.step_y, map->h, &rows);
    fill_axis(pool, grid.start_x, grid.step_x, map->w, &columns);
    for (int32_t c = first; c < last; c++)
        average_backward(&rows, &columns, map->w, pooled_grad + c * bins, line, grad + c * plane);
}
