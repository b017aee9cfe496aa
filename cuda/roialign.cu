/* [roialign] on CUDA; geometry and bins: math/roialign.h.
 *
 * The boxes are chosen on the host and go to the kernels as arguments, DN_CHUNK at a time: no
 * memory, no copy that someone must wait for. Forward: one thread a bin and channel, one launch a
 * map and chunk. Backward gathers: one thread a cell of a map adds what each box of its image
 * returns to it, box after box, bin after bin, so that sums have one order. Both read the maps as
 * they are, (n, c, h, w); the CPU sums in another order, so results agree to rounding.
 */
#include "launch.h"

#include "layers/roialign.h"
#include "math/roialign.h"

/* With the other arguments below the 4 KiB that a launch may pass on every architecture. */
enum { DN_CHUNK = 128 };

typedef struct dn_chunk_roi {
    float box[4];
    int32_t image;
} dn_chunk_roi;

/* One map and a run of boxes. */
typedef struct dn_chunk {
    dn_roi_pool pool;
    dn_roi_map map;
    int32_t count;
    uint32_t members[DN_CHUNK / 32]; /* bit r: box r is pooled from this map */
    dn_chunk_roi rois[DN_CHUNK];
} dn_chunk;

static_assert(sizeof(dn_chunk) <= 4000, "a launch's arguments");

static dn_chunk make_chunk(const dn_layer *layer, const dn_pass *pass, int32_t level, int32_t first)
{
    const dn_roi_set *set = layer->rois;
    const int32_t left = set->count - first;
    dn_chunk chunk = {};
    chunk.pool = dn_roialign_pool(layer);
    chunk.map = dn_roialign_map(layer, pass->network, level);
    chunk.count = left < DN_CHUNK ? left : (int32_t)DN_CHUNK;
    for (int32_t r = 0; r < chunk.count; r++) {
        const dn_roi *roi = &set->rois[first + r];
        const dn_box e = roi->expanded;
        chunk.rois[r] = {{e.x0, e.y0, e.x1, e.y1}, roi->image};
        if (roi->level < 0 || roi->level == level) chunk.members[r / 32] |= 1u << r % 32;
    }
    return chunk;
}

static __device__ bool is_member(const dn_chunk *chunk, int32_t r)
{
    return (chunk->members[r / 32] >> r % 32 & 1u) != 0;
}

static __device__ dn_roi_grid grid_of(const dn_chunk *chunk, int32_t r)
{
    return dn_roi_grid_of(chunk->rois[r].box, chunk->map.scale_x, chunk->map.scale_y,
                          chunk->pool.size * chunk->pool.samples);
}

static __device__ float pool_bin(const dn_chunk *chunk, const dn_roi_grid *grid, const float *plane,
                                 int32_t bin_y, int32_t bin_x)
{
    const int32_t samples = chunk->pool.samples, h = chunk->map.h, w = chunk->map.w;
    dn_roi_tap y, x;
    return chunk->pool.maximum ? dn_roi_maximum(grid, plane, h, w, samples, bin_y, bin_x, &y, &x)
                               : dn_roi_average(grid, plane, h, w, samples, bin_y, bin_x);
}

/* out (rois, channels, size, size) of the chunk = its bins, or += them behind the first map. */
static __global__ void pool_bins(const dn_chunk chunk, const float *in, float *out, bool add,
                                 int64_t count)
{
    const int32_t size = chunk.pool.size, channels = chunk.pool.channels;
    const int64_t plane = (int64_t)chunk.map.h * chunk.map.w;
    DN_GRID_STRIDE(i, count) {
        const int64_t row = i / size, bins = row / size;
        const int32_t bin_x = (int32_t)(i - row * size), bin_y = (int32_t)(row - bins * size);
        const int32_t r = (int32_t)(bins / channels), c = (int32_t)(bins - (int64_t)r * channels);
        float value = 0.0f;
        if (is_member(&chunk, r)) {
            const dn_roi_grid grid = grid_of(&chunk, r);
            const int64_t at = (int64_t)chunk.rois[r].image * channels + c;
            value = pool_bin(&chunk, &grid, in + at * plane, bin_y, bin_x);
        }
        out[i] = add ? out[i] + value : value;
    }
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    DN_TRY(dn_roialign_choose(layer, pass));
    const int64_t roi_size = dn_tensor_size(&layer->out);
    for (int32_t k = 0; k < layer->input_count; k++)
        for (int32_t first = 0; first < layer->rois->count; first += DN_CHUNK) {
            const dn_chunk chunk = make_chunk(layer, pass, k, first);
            const int64_t count = chunk.count * roi_size;
            DN_LAUNCH(pool_bins, count, chunk, dn_input(layer, pass, k)->data,
                      layer->out.data + first * roi_size, k > 0, count);
            DN_CUDA_TRY(cudaGetLastError());
        }
    return DN_OK;
}

/* Bins first..last-1 of an axis. */
typedef struct dn_span {
    int32_t first, last;
} dn_span;

/* The bins with a point that may touch `cell`: points lie at most a cell away from what they touch,
 * also those outside that the border takes. One point more on each side, for rounding. */
static __device__ dn_span bins_near(const dn_chunk *chunk, float start, float step, int32_t cell)
{
    const int32_t samples = chunk->pool.samples, points = chunk->pool.size * samples;
    dn_span span = {0, chunk->pool.size};
    if (!(step > 0.0f)) return span;
    const float low = ((float)(cell - 1) - start) / step - 0.5f;  /* the point there, a fraction */
    const float high = ((float)(cell + 1) - start) / step - 0.5f; /* alike */
    span.first = (int32_t)fminf(fmaxf(low - 1.0f, 0.0f), (float)points) / samples;
    span.last = ((int32_t)fminf(fmaxf(high + 2.0f, 0.0f), (float)points) + samples - 1) / samples;
    return span;
}

static __device__ float weight_at(dn_roi_tap tap, int32_t cell)
{
    return (tap.low == cell ? tap.low_weight : 0.0f) + (tap.high == cell ? tap.high_weight : 0.0f);
}

/* Sum of one bin's points' weights at `cell`, on one axis. */
static __device__ float bin_weight(const dn_chunk *chunk, float start, float step, int32_t bin,
                                   int32_t cell, int32_t cells)
{
    float sum = 0.0f;
    for (int32_t j = 0; j < chunk->pool.samples; j++)
        sum += weight_at(dn_roi_tap_at(start, step, bin * chunk->pool.samples + j, cells), cell);
    return sum;
}

/* The derivative of a bin with respect to cell (y, x). */
static __device__ float bin_slope(const dn_chunk *chunk, const dn_roi_grid *grid,
                                  const float *plane, int32_t bin_y, int32_t bin_x, int32_t y,
                                  int32_t x)
{
    const int32_t samples = chunk->pool.samples, h = chunk->map.h, w = chunk->map.w;
    if (!chunk->pool.maximum) {
        const float points = (float)(samples * samples);
        return bin_weight(chunk, grid->start_y, grid->step_y, bin_y, y, h) *
               bin_weight(chunk, grid->start_x, grid->step_x, bin_x, x, w) / points;
    }
    dn_roi_tap tap_y = {0, 0, 0.0f, 0.0f}, tap_x = tap_y;
    dn_roi_maximum(grid, plane, h, w, samples, bin_y, bin_x, &tap_y, &tap_x);
    return weight_at(tap_y, y) * weight_at(tap_x, x);
}

/* What one box returns to cell (y, x) of a plane. */
static __device__ float box_gradient(const dn_chunk *chunk, int32_t r, const float *plane,
                                     const float *grad, int32_t y, int32_t x)
{
    const dn_roi_grid grid = grid_of(chunk, r);
    const dn_span rows = bins_near(chunk, grid.start_y, grid.step_y, y);
    const dn_span columns = bins_near(chunk, grid.start_x, grid.step_x, x);
    float sum = 0.0f;
    for (int32_t bin_y = rows.first; bin_y < rows.last; bin_y++)
        for (int32_t bin_x = columns.first; bin_x < columns.last; bin_x++)
            sum += bin_slope(chunk, &grid, plane, bin_y, bin_x, y, x) *
                   grad[bin_y * chunk->pool.size + bin_x];
    return sum;
}

/* in_grad (n, c, h, w) += the gradient of the chunk's bins, grad (rois, c, size, size). */
static __global__ void add_gradient(const dn_chunk chunk, const float *in, const float *grad,
                                    float *in_grad, int64_t count)
{
    const int32_t bins = chunk.pool.size * chunk.pool.size, channels = chunk.pool.channels;
    const int32_t plane = chunk.map.h * chunk.map.w, w = chunk.map.w;
    DN_GRID_STRIDE(i, count) {
        const int64_t p = i / plane, image = p / channels, c = p - image * channels;
        const int32_t at = (int32_t)(i - p * plane), y = at / w;
        float sum = in_grad[i];
        for (int32_t r = 0; r < chunk.count; r++)
            if (chunk.rois[r].image == image && is_member(&chunk, r))
                sum += box_gradient(&chunk, r, in + p * plane, grad + (r * channels + c) * bins, y,
                                    at - y * w);
        in_grad[i] = sum;
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const int64_t roi_size = dn_tensor_size(&layer->out);
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_tensor *in = dn_input(layer, pass, k);
        const int64_t count = pass->batch * dn_tensor_size(in);
        for (int32_t first = 0; in->grad && first < layer->rois->count; first += DN_CHUNK) {
            const dn_chunk chunk = make_chunk(layer, pass, k, first);
            DN_LAUNCH(add_gradient, count, chunk, in->data, layer->out.grad + first * roi_size,
                      in->grad, count);
            DN_CUDA_TRY(cudaGetLastError());
        }
    }
    return DN_OK;
}

const dn_layer_kernels dn_roialign_cuda = {forward, backward, nullptr, nullptr};
