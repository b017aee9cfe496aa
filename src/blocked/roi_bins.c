/* RoIAlign on blocked maps: the bins of one box, a block of channels after the other.
 *
 * A pixel's channels of a block are one vector, so every point of a bin is four loads with weights
 * that are the same for all channels; they are computed once a box and axis.
 */
#include "blocked/roi_bins.h"

#include "blocked/rows.h"
#include "blocked/vector.h"
#include "math/roialign.h"

/* The points of an axis. */
static void fill_taps(float start, float step, int32_t points, int32_t cells, dn_roi_tap *taps)
{
    for (int32_t k = 0; k < points; k++) taps[k] = dn_roi_tap_at(start, step, k, cells);
}

DN_INLINE dn_vec point(const float *low, const float *high, dn_roi_tap y, dn_roi_tap x)
{
    const int64_t left = (int64_t)x.low * DN_LANES, right = (int64_t)x.high * DN_LANES;
    const dn_vec wl = dn_vec_set(x.low_weight), wr = dn_vec_set(x.high_weight);
    const dn_vec top = dn_fma(wr, dn_vec_load(low + right), wl * dn_vec_load(low + left));
    const dn_vec bottom = dn_fma(wr, dn_vec_load(high + right), wl * dn_vec_load(high + left));
    return dn_fma(dn_vec_set(y.high_weight), bottom, dn_vec_set(y.low_weight) * top);
}

/* One bin: `y` and `x` are its first taps; `plane` the block's map. */
DN_INLINE dn_vec bin(const dn_roi_pool *pool, const float *plane, int64_t pitch,
                     const dn_roi_tap *y, const dn_roi_tap *x)
{
    const int32_t samples = pool->samples;
    dn_vec most = dn_vec_set(0.0f), sum = dn_vec_set(0.0f);
    for (int32_t j = 0; j < samples; j++)
        for (int32_t i = 0; i < samples; i++) {
            const dn_vec value =
                point(plane + y[j].low * pitch, plane + y[j].high * pitch, y[j], x[i]);
            if (i + j > 0)
                most = dn_vec_max(value, most);
            else
                most = value;
            sum = sum + value;
        }
    if (pool->maximum) return most;
    return sum * dn_vec_set(1.0f / (float)(samples * samples));
}

int64_t DN_ISA_NAME(dn_roi_bins_scratch)(const dn_roi_pool *pool)
{
    return 2 * (int64_t)pool->size * pool->samples * (int64_t)sizeof(dn_roi_tap);
}

void DN_ISA_NAME(dn_roi_bins)(const dn_roi_bins_call *call, const dn_blocked *map,
                              const dn_blocked *out, int32_t first_block, int32_t last_block,
                              void *scratch)
{
    const dn_roi_pool *pool = &call->pool;
    const int32_t size = pool->size, samples = pool->samples, points = size * samples;
    const dn_roi_grid grid =
        dn_roi_grid_of(call->box, call->map.scale_x, call->map.scale_y, points);
    dn_roi_tap *rows = scratch, *columns = rows + points;
    fill_taps(grid.start_y, grid.step_y, points, map->h, rows);
    fill_taps(grid.start_x, grid.step_x, points, map->w, columns);
    for (int32_t block = first_block; block < last_block; block++) {
        const float *plane = dn_block_row(map, call->image, block, 0, DN_LANES);
        float *to = dn_block_row(out, call->roi, block, 0, DN_LANES);
        for (int32_t y = 0; y < size; y++)
            for (int32_t x = 0; x < size; x++, to += DN_LANES) {
                dn_vec value = bin(pool, plane, (int64_t)map->w * DN_LANES, rows + y * samples,
                                   columns + x * samples);
                if (call->add) value = value + dn_vec_load(to);
                dn_vec_store(to, value);
            }
    }
}
