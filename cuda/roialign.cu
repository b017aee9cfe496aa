/* [roialign] on CUDA; geometry and bins: math/roialign.h; where boxes lie on maps: roi_table.h.
 *
 * The boxes are chosen on the host and copied. Forward: one launch for all boxes and maps, one
 * thread a bin and channel. Where the maximum trains, the winning point of each bin is kept, a byte
 * a map. Backward gathers, one launch a map: one thread a cell adds what each box of its image that
 * touches it returns, box after box, bin after bin, so that sums have one order. The CPU sums in
 * another one, so results agree to rounding.
 */
#include "roi_table.h"

#include "launch.h"
#include "layers/roialign.h"

/* Maps that one launch pools from. */
enum { DN_MAPS = 8 };

typedef struct dn_roi_maps {
    int32_t first, count;
    dn_roi_map maps[DN_MAPS];
    const float *cells[DN_MAPS]; /* (n, c, h, w) each */
} dn_roi_maps;

static void destroy(dn_layer *layer)
{
    dn_roi_table_free((dn_roi_table *)layer->device);
    layer->device = nullptr;
}

static dn_status setup(dn_layer *layer, dn_network *)
{
    layer->workspace_floats = 0;
    if (layer->trains && dn_roialign_pool(layer).maximum) {
        const int64_t bins = dn_roialign_set(layer)->capacity * dn_tensor_size(&layer->out);
        layer->saved_floats = (layer->input_count * bins + 3) / 4; /* a byte each */
    }
    if (layer->device) return DN_OK; /* the number of boxes never changes */
    return dn_roi_table_make(layer, (dn_roi_table **)&layer->device);
}

/* The pool with the number of samples that the kernel was compiled for; 0: any. */
template <int samples> static __device__ dn_roi_pool with_samples(dn_roi_pool pool)
{
    if (samples > 0) pool.samples = samples;
    return pool;
}

/* out (rois, channels, size, size) = the bins of the first maps, or += those of others. winners,
 * (maps, capacity, channels, size, size), is NULL where nothing trains. */
template <int samples>
static __global__ void pool_bins(dn_roi_table table, dn_roi_pool any, dn_roi_maps maps, float *out,
                                 uint8_t *winners, int64_t count)
{
    const dn_roi_pool pool = with_samples<samples>(any);
    const int64_t winners_step = (int64_t)table.capacity * pool.channels * pool.size * pool.size;
    DN_GRID_STRIDE(i, count) {
        const int64_t row = i / pool.size, plane = row / pool.size;
        const int32_t bin_x = (int32_t)(i - row * pool.size);
        const int32_t bin_y = (int32_t)(row - plane * pool.size);
        const int32_t r = (int32_t)(plane / pool.channels);
        const int64_t c = plane - (int64_t)r * pool.channels;
        float value = maps.first > 0 ? out[i] : 0.0f;
        for (int32_t k = 0; k < maps.count; k++) {
            const int32_t level = maps.first + k, h = maps.maps[k].h, w = maps.maps[k].w;
            const dn_roi_place *place = &table.places[(int64_t)level * table.capacity + r];
            if (place->top >= place->bottom) continue;
            const dn_roi_grid grid = place->grid;
            const float *cells =
                maps.cells[k] + ((int64_t)place->image * pool.channels + c) * h * w;
            if (pool.maximum) {
                int32_t winner = 0;
                value += dn_roi_maximum(&grid, cells, h, w, pool.samples, bin_y, bin_x, &winner);
                if (winners) winners[level * winners_step + i] = (uint8_t)winner;
            } else {
                value += dn_roi_average(&grid, cells, h, w, pool.samples, bin_y, bin_x);
            }
        }
        out[i] = value;
    }
}

static dn_roi_maps maps_from(const dn_layer *layer, const dn_pass *pass, int32_t first)
{
    const int32_t left = layer->input_count - first;
    dn_roi_maps maps = {};
    maps.first = first;
    maps.count = left < DN_MAPS ? left : (int32_t)DN_MAPS;
    for (int32_t k = 0; k < maps.count; k++) {
        maps.maps[k] = dn_roialign_map(layer, pass->network, first + k);
        maps.cells[k] = dn_input(layer, pass, first + k)->data;
    }
    return maps;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    DN_TRY(dn_roialign_choose(layer, pass));
    const dn_roi_table *table = (const dn_roi_table *)layer->device;
    DN_TRY(dn_roi_table_fill(table, layer, pass));
    const dn_roi_pool pool = dn_roialign_pool(layer);
    const int64_t count = layer->rois->count * dn_tensor_size(&layer->out);
    uint8_t *winners = pass->training && pool.maximum ? (uint8_t *)layer->saved : nullptr;
    for (int32_t first = 0; first < layer->input_count; first += DN_MAPS) {
        const dn_roi_maps maps = maps_from(layer, pass, first);
        if (pool.samples == 2)
            DN_LAUNCH(pool_bins<2>, count, *table, pool, maps, layer->out.data, winners, count);
        else
            DN_LAUNCH(pool_bins<0>, count, *table, pool, maps, layer->out.data, winners, count);
        DN_CUDA_TRY(cudaGetLastError());
    }
    return DN_OK;
}

/* Bins first..last-1 of one axis. */
typedef struct dn_span {
    int32_t first, last;
} dn_span;

/* The bins with a point less than a cell away from `cell`, or outside beside it. A tenth of a point
 * more on each side, for rounding. */
static __device__ dn_span bins_near(const dn_roi_pool *pool, float start, float step, int32_t cell)
{
    const int32_t points = pool->size * pool->samples;
    dn_span span = {0, pool->size};
    if (!(step > 0.0f)) return span;
    const float low = ((float)(cell - 1) - start) / step - 0.5f;  /* the point there, a fraction */
    const float high = ((float)(cell + 1) - start) / step - 0.5f; /* alike */
    span.first = (int32_t)fminf(fmaxf(low + 0.9f, 0.0f), (float)points) / pool->samples;
    span.last = ((int32_t)fminf(fmaxf(high + 1.1f, 0.0f), (float)points) + pool->samples - 1) /
                pool->samples;
    return span;
}

/* What point k of an axis gives to `cell`. */
static __device__ float point_weight(float start, float step, int32_t k, int32_t cells,
                                     int32_t cell)
{
    const dn_roi_tap tap = dn_roi_tap_at(start, step, k, cells);
    return (tap.low == cell ? tap.low_weight : 0.0f) + (tap.high == cell ? tap.high_weight : 0.0f);
}

/* The mean of what a bin's points give to `cell`, on one axis. */
static __device__ float bin_weight(const dn_roi_pool *pool, float start, float step, int32_t bin,
                                   int32_t cells, int32_t cell)
{
    float sum = 0.0f;
    for (int32_t j = 0; j < pool->samples; j++)
        sum += point_weight(start, step, bin * pool->samples + j, cells, cell);
    return sum / (float)pool->samples;
}

/* What one box returns to cell (y, x) of a plane; grad and winners are the plane's bins'. */
static __device__ float maximum_gradient(const dn_roi_pool *pool, const dn_roi_map *map,
                                         const dn_roi_grid *grid, const float *grad,
                                         const uint8_t *winners, int32_t y, int32_t x)
{
    const dn_span rows = bins_near(pool, grid->start_y, grid->step_y, y);
    const dn_span columns = bins_near(pool, grid->start_x, grid->step_x, x);
    const int32_t samples = pool->samples;
    float sum = 0.0f;
    for (int32_t bin_y = rows.first; bin_y < rows.last; bin_y++)
        for (int32_t bin_x = columns.first; bin_x < columns.last; bin_x++) {
            const int32_t bin = bin_y * pool->size + bin_x, winner = winners[bin];
            const float weight_y = point_weight(grid->start_y, grid->step_y,
                                                bin_y * samples + winner / samples, map->h, y);
            if (weight_y == 0.0f) continue;
            sum += weight_y *
                   point_weight(grid->start_x, grid->step_x, bin_x * samples + winner % samples,
                                map->w, x) *
                   grad[bin];
        }
    return sum;
}

static __device__ float average_gradient(const dn_roi_pool *pool, const dn_roi_map *map,
                                         const dn_roi_grid *grid, const float *grad, int32_t y,
                                         int32_t x)
{
    const dn_span rows = bins_near(pool, grid->start_y, grid->step_y, y);
    const dn_span columns = bins_near(pool, grid->start_x, grid->step_x, x);
    float sum = 0.0f;
    for (int32_t bin_y = rows.first; bin_y < rows.last; bin_y++) {
        const float weight_y = bin_weight(pool, grid->start_y, grid->step_y, bin_y, map->h, y);
        if (weight_y == 0.0f) continue;
        for (int32_t bin_x = columns.first; bin_x < columns.last; bin_x++)
            sum += weight_y * bin_weight(pool, grid->start_x, grid->step_x, bin_x, map->w, x) *
                   grad[bin_y * pool->size + bin_x];
    }
    return sum;
}

/* in_grad (n, c, h, w) of one map += the gradient of the bins, grad (rois, c, size, size). */
template <int samples>
static __global__ void add_gradient(dn_roi_table table, dn_roi_pool any, dn_roi_map map,
                                    int32_t level, const float *grad, const uint8_t *winners,
                                    float *in_grad, int64_t count)
{
    const dn_roi_pool pool = with_samples<samples>(any);
    const int32_t bins = pool.size * pool.size;
    const dn_roi_place *places = table.places + (int64_t)level * table.capacity;
    DN_GRID_STRIDE(i, count) {
        const int64_t row = i / map.w, plane = row / map.h, image = plane / pool.channels;
        const int32_t x = (int32_t)(i - row * map.w), y = (int32_t)(row - plane * map.h);
        const int64_t c = plane - image * pool.channels;
        const int32_t last = table.starts[image + 1];
        float sum = 0.0f;
        for (int32_t r = table.starts[image]; r < last; r++) {
            const dn_roi_place *place = &places[r];
            if (y < place->top || y >= place->bottom || x < place->left || x >= place->right)
                continue;
            const int64_t at = ((int64_t)r * pool.channels + c) * bins;
            const dn_roi_grid grid = place->grid;
            sum += winners ? maximum_gradient(&pool, &map, &grid, grad + at, winners + at, y, x)
                           : average_gradient(&pool, &map, &grid, grad + at, y, x);
        }
        if (sum != 0.0f) in_grad[i] += sum;
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_roi_table *table = (const dn_roi_table *)layer->device;
    const dn_roi_pool pool = dn_roialign_pool(layer);
    const int64_t winners_step = table->capacity * dn_tensor_size(&layer->out);
    if (layer->rois->count == 0) return DN_OK;
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_tensor *in = dn_input(layer, pass, k);
        const int64_t count = pass->batch * dn_tensor_size(in);
        const dn_roi_map map = dn_roialign_map(layer, pass->network, k);
        const uint8_t *winners =
            pool.maximum ? (const uint8_t *)layer->saved + k * winners_step : nullptr;
        if (!in->grad) continue;
        if (pool.samples == 2)
            DN_LAUNCH(add_gradient<2>, count, *table, pool, map, k, layer->out.grad, winners,
                      in->grad, count);
        else
            DN_LAUNCH(add_gradient<0>, count, *table, pool, map, k, layer->out.grad, winners,
                      in->grad, count);
        DN_CUDA_TRY(cudaGetLastError());
    }
    return DN_OK;
}

const dn_layer_kernels dn_roialign_cuda = {forward, backward, setup, destroy};
