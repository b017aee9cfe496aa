/* [roialign] on CUDA; geometry and bins: math/roialign.h; where boxes lie on maps: roi_table.h.
 *
 * In inference the boxes are chosen here, in training by the host. Forward: one launch for all
 * boxes and maps, one thread a bin and channel. Where the maximum trains, the winning point of each
 * bin is kept, a byte a map. Backward gathers, one launch a map: one thread a cell of a few
 * channels adds what each box of its image that touches it returns, box after box, bin after bin,
 * so that sums have one order. The CPU sums in another one, so results agree to rounding.
 */
#include "roi_table.h"

#include "core/network.h"
#include "layers/roialign.h"
#include "place.h"

/* Maps that one launch pools from; channels whose gradients one thread adds up. */
enum { DN_MAPS = 8, DN_CHANNELS = 4 };

typedef struct dn_roi_maps {
    int32_t first, count;
    dn_roi_map maps[DN_MAPS];
    const float *cells[DN_MAPS]; /* (n, c, h, w) each */
} dn_roi_maps;

static void destroy(dn_layer *layer)
{
    dn_roi_memory_free((dn_roi_memory *)layer->device);
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
    return dn_roi_memory_make(layer, (dn_roi_memory **)&layer->device);
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
        const dn_place bin = dn_place_of(i, pool.size, pool.size);
        const int32_t r = (int32_t)(bin.map / pool.channels);
        const int64_t c = bin.map - (int64_t)r * pool.channels;
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
                value += dn_roi_maximum(&grid, cells, h, w, pool.samples, bin.y, bin.x, &winner);
                if (winners) winners[level * winners_step + i] = (uint8_t)winner;
            } else {
                value += dn_roi_average(&grid, cells, h, w, pool.samples, bin.y, bin.x);
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

dn_status dn_roi_ask(dn_layer *layer, const dn_pass *pass)
{
    dn_roi_memory *memory = (dn_roi_memory *)layer->device;
    const bool here = pass->network->backend == &dn_cuda_backend; /* not so in dn_test_layer */
    memory->asked = false;
    if (here) layer->rois->on_device = memory->table.rois;
    if (!here || !dn_roialign_asks_detector(layer, pass)) return DN_OK;
    return dn_roi_table_ask(memory, layer, pass);
}

dn_status dn_roi_boxes(dn_layer *layer, const dn_pass *pass, const dn_roi_table **table)
{
    dn_roi_memory *memory = (dn_roi_memory *)layer->device;
    bool chosen = false;
    *table = &memory->table;
    if (memory->asked) DN_TRY(dn_roi_table_take(memory, layer, &chosen));
    if (chosen) return DN_OK;
    DN_TRY(dn_roialign_choose(layer, pass));
    return dn_roi_table_fill(memory, layer);
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_roi_table *table = nullptr;
    DN_TRY(dn_roi_ask(layer, pass));
    DN_TRY(dn_roi_boxes(layer, pass, &table));
    DN_TRY(dn_roi_table_place((dn_roi_memory *)layer->device, layer, pass));
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

/* What the points of a bin give to `cell` on one axis, a weight each; false: nothing. */
template <int most>
static __device__ bool bin_weights(const dn_roi_pool *pool, float start, float step, int32_t bin,
                                   int32_t cells, int32_t cell, float weights[most])
{
    bool any = false;
    for (int32_t j = 0; j < pool->samples; j++) {
        weights[j] = point_weight(start, step, bin * pool->samples + j, cells, cell);
        any = any || weights[j] != 0.0f;
    }
    return any;
}

static __device__ float mean_weight(const float *weights, int32_t samples)
{
    float sum = 0.0f;
    for (int32_t j = 0; j < samples; j++) sum += weights[j];
    return sum / (float)samples;
}

/* weights[k] without an array in memory where there are two. */
template <int samples> static __device__ float pick(const float *weights, int32_t k)
{
    if (samples == 2) return k == 0 ? weights[0] : weights[1];
    return weights[k];
}

/* sums (channels) += what one box returns to cell (y, x) of as many planes, whose bins follow each
 * other in grad and winners. */
template <int samples>
static __device__ void add_box(const dn_roi_pool *pool, const dn_roi_map *map,
                               const dn_roi_grid *grid, const float *grad, const uint8_t *winners,
                               int32_t y, int32_t x, int32_t channels, float sums[DN_CHANNELS])
{
    enum { MOST = samples > 0 ? samples : 8 };
    const dn_span rows = bins_near(pool, grid->start_y, grid->step_y, y);
    const dn_span columns = bins_near(pool, grid->start_x, grid->step_x, x);
    const int32_t bins = pool->size * pool->size;
    float weights_y[MOST], weights_x[MOST];
    for (int32_t bin_y = rows.first; bin_y < rows.last; bin_y++) {
        if (!bin_weights<MOST>(pool, grid->start_y, grid->step_y, bin_y, map->h, y, weights_y))
            continue;
        const float mean_y = mean_weight(weights_y, pool->samples);
        for (int32_t bin_x = columns.first; bin_x < columns.last; bin_x++) {
            if (!bin_weights<MOST>(pool, grid->start_x, grid->step_x, bin_x, map->w, x, weights_x))
                continue;
            const float mean = mean_y * mean_weight(weights_x, pool->samples);
            const int32_t bin = bin_y * pool->size + bin_x;
            for (int32_t c = 0; c < DN_CHANNELS; c++) {
                if (c >= channels) break;
                float weight = mean;
                if (winners) {
                    const int32_t winner = winners[c * bins + bin];
                    weight = pick<samples>(weights_y, winner / pool->samples) *
                             pick<samples>(weights_x, winner % pool->samples);
                }
                sums[c] += weight * grad[c * bins + bin];
            }
        }
    }
}

/* in_grad (n, c, h, w) of one map += the gradient of the bins, grad (rois, c, size, size); a thread
 * is a cell of DN_CHANNELS channels, or of the last ones. */
template <int samples>
static __global__ void add_gradient(dn_roi_table table, dn_roi_pool any, dn_roi_map map,
                                    int32_t level, const float *grad, const uint8_t *winners,
                                    float *in_grad, int64_t count)
{
    const dn_roi_pool pool = with_samples<samples>(any);
    const int32_t bins = pool.size * pool.size, plane = map.h * map.w;
    const int32_t groups = (pool.channels + DN_CHANNELS - 1) / DN_CHANNELS;
    const dn_roi_place *places = table.places + (int64_t)level * table.capacity;
    DN_GRID_STRIDE(i, count) {
        const dn_place cell = dn_place_of(i, map.w, map.h);
        const int32_t image = (int32_t)(cell.map / groups), x = cell.x, y = cell.y;
        const int32_t c = (int32_t)(cell.map - (int64_t)image * groups) * DN_CHANNELS;
        const int32_t left = pool.channels - c, last = table.starts[image + 1];
        const int32_t channels = left < DN_CHANNELS ? left : (int32_t)DN_CHANNELS;
        float sums[DN_CHANNELS] = {};
        for (int32_t r = table.starts[image]; r < last; r++) {
            const dn_roi_place *place = &places[r];
            if (y < place->top || y >= place->bottom || x < place->left || x >= place->right)
                continue;
            const int64_t at = ((int64_t)r * pool.channels + c) * bins;
            const dn_roi_grid grid = place->grid;
            add_box<samples>(&pool, &map, &grid, grad + at, winners ? winners + at : nullptr, y, x,
                             channels, sums);
        }
        float *to = in_grad + ((int64_t)image * pool.channels + c) * plane + y * map.w + x;
        for (int32_t k = 0; k < DN_CHANNELS; k++)
            if (k < channels && sums[k] != 0.0f) to[(int64_t)k * plane] += sums[k];
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_roi_table *table = &((const dn_roi_memory *)layer->device)->table;
    const dn_roi_pool pool = dn_roialign_pool(layer);
    const int64_t winners_step = table->capacity * dn_tensor_size(&layer->out);
    if (layer->rois->count == 0) return DN_OK;
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_tensor *in = dn_input(layer, pass, k);
        const int64_t groups = (in->c + DN_CHANNELS - 1) / DN_CHANNELS;
        const int64_t count = pass->batch * groups * in->h * in->w;
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
