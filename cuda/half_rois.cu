/* Boxes' bins from maps in half precision: see half_rows.h; the geometry is math/roialign.h's.
 *
 * A block makes some bins of a box. It first finds, once for each bin and map, which rows and
 * columns of cells the bin's points touch and with which weights; points that lie close together
 * share cells, which are loaded once. Then every thread makes eight channels of a bin, on all maps:
 * it loads up to eight pieces of 16 bytes before it uses the first. So for two points on each axis;
 * bins of other numbers are made point by point.
 */
#include "half_bins.h"

#include "half.h"
#include "place.h"

/* ---- Two points on each axis ---- */

/* Two rows of what a bin touches, from row `first` on. */
static __device__ inline void load_rows(const dn_bin *bin, int first, const void *cells,
                                        int32_t pixel_bytes, uint4 raw[2][DN_TOUCHED])
{
    DN_UNROLL
    for (int s = 0; s < 2; s++) DN_UNROLL
    for (int t = 0; t < DN_TOUCHED; t++) {
        raw[s][t] = {0, 0, 0, 0};
        if (first + s < bin->y.count && t < bin->x.count)
            raw[s][t] =
                *(const uint4 *)(const void *)((const char *)cells +
                                               (int64_t)(bin->y.at[first + s] + bin->x.at[t]) *
                                                   pixel_bytes);
    }
}

/* sums += the bin's eight channels, its weights being those of POINTS points on each axis. */
template <class T, int POINTS>
static __device__ inline void add_bin(const dn_bin *bin, const T *cells, int32_t pixel,
                                      float sums[8])
{
    float points[POINTS][POINTS][8] = {};
    DN_UNROLL
    for (int first = 0; first < DN_TOUCHED; first += 2) {
        uint4 raw[2][DN_TOUCHED];
        if (first >= bin->y.count) break;
        load_rows(bin, first, cells, pixel * (int32_t)sizeof(T), raw);
        DN_UNROLL
        for (int s = 0; s < 2; s++) {
            float row[POINTS][8] = {};
            DN_UNROLL
            for (int t = 0; t < DN_TOUCHED; t++) {
                float values[8];
                if (t >= bin->x.count) break;
                dn_widen_eight<T>(raw[s][t], values);
                DN_UNROLL
                for (int i = 0; i < POINTS; i++) DN_UNROLL
                for (int e = 0; e < 8; e++)
                    row[i][e] = fmaf(bin->x.weights[i][t], values[e], row[i][e]);
            }
            DN_UNROLL
            for (int j = 0; j < POINTS; j++) DN_UNROLL
            for (int i = 0; i < POINTS; i++) DN_UNROLL
            for (int e = 0; e < 8; e++)
                points[j][i][e] = fmaf(bin->y.weights[j][first + s], row[i][e], points[j][i][e]);
        }
    }
    DN_UNROLL
    for (int e = 0; e < 8; e++)
        if constexpr (POINTS == 1)
            sums[e] += 0.25f * points[0][0][e];
        else
            sums[e] += fmaxf(fmaxf(points[0][0][e], points[0][1][e]),
                             fmaxf(points[1][0][e], points[1][1][e]));
}

/* Grid: boxes, blocks of bins. */
template <class T, int POINTS>
static __global__ void __launch_bounds__(DN_BIN_THREADS)
    pool_pairs(const __grid_constant__ dn_half_bins<T> call)
{
    __shared__ dn_bin bins[DN_BINS * DN_HALF_MAPS];
    const dn_half_bins<T> *p = &call;
    const int32_t eights = (p->pool.channels + 7) / 8, all = p->pool.size * p->pool.size;
    const int32_t r = (int32_t)blockIdx.x, first = (int32_t)blockIdx.y * p->bins;
    const int32_t here = all - first < p->bins ? all - first : p->bins;
    const dn_roi *roi = &p->rois[r];
    dn_await_and_release();
    const bool there = r < *p->live->rois;
    if (there) dn_find_bins(p, roi, first, bins);
    __syncthreads();
    for (int32_t i = (int32_t)threadIdx.x; i < here * eights; i += DN_BIN_THREADS) {
        const int32_t bin = i / eights, channel = (i - bin * eights) * 8;
        T *to = p->out + ((int64_t)r * all + first + bin) * p->out_pixel + channel;
        float sums[8] = {};
        if (p->first > 0 && there) dn_load_eight(to, sums);
        for (int32_t m = 0; m < p->count && there; m++) {
            const dn_half_map<T> *map = &p->maps[m];
            const dn_bin *touched = &bins[bin * p->count + m];
            if (touched->x.count > 0 && touched->y.count > 0)
                add_bin<T, POINTS>(touched, dn_cells_of(map, roi->image, channel), map->pixel,
                                   sums);
        }
        dn_store_eight(sums, to);
    }
}

/* ---- Any number of points ---- */

/* values = the map's at a point: eight channels. */
template <class T>
static __device__ inline void point_of(const dn_half_map<T> *map, const T *cells, dn_roi_tap y,
                                       dn_roi_tap x, float values[8])
{
    float a[8], b[8], c[8], d[8];
    dn_load_eight(cells + ((int64_t)y.low * map->w + x.low) * map->pixel, a);
    dn_load_eight(cells + ((int64_t)y.low * map->w + x.high) * map->pixel, b);
    dn_load_eight(cells + ((int64_t)y.high * map->w + x.low) * map->pixel, c);
    dn_load_eight(cells + ((int64_t)y.high * map->w + x.high) * map->pixel, d);
    DN_UNROLL
    for (int k = 0; k < 8; k++)
        values[k] = y.low_weight * (x.low_weight * a[k] + x.high_weight * b[k]) +
                    y.high_weight * (x.low_weight * c[k] + x.high_weight * d[k]);
}

/* sums += the bin on one map. */
template <class T>
static __device__ inline void add_points(const dn_roi_pool *pool, const dn_roi_grid *grid,
                                         const dn_half_map<T> *map, const T *cells, int32_t bin_y,
                                         int32_t bin_x, float sums[8])
{
    const int32_t samples = pool->samples;
    float bin[8] = {}, values[8];
    for (int32_t j = 0; j < samples; j++) {
        const dn_roi_tap y =
            dn_roi_tap_at(grid->start_y, grid->step_y, bin_y * samples + j, map->h);
        for (int32_t i = 0; i < samples; i++) {
            const dn_roi_tap x =
                dn_roi_tap_at(grid->start_x, grid->step_x, bin_x * samples + i, map->w);
            point_of(map, cells, y, x, values);
            const bool first = i == 0 && j == 0;
            DN_UNROLL
            for (int k = 0; k < 8; k++)
                bin[k] = !pool->maximum ? bin[k] + values[k]
                         : first        ? values[k]
                                        : fmaxf(bin[k], values[k]);
        }
    }
    const float share = pool->maximum ? 1.0f : 1.0f / (float)(samples * samples);
    DN_UNROLL
    for (int k = 0; k < 8; k++) sums[k] += share * bin[k];
}

template <class T>
static __global__ void pool_points(const __grid_constant__ dn_half_bins<T> call, int64_t count)
{
    const dn_half_bins<T> *p = &call;
    const dn_roi_pool *pool = &p->pool;
    const int32_t eights = (pool->channels + 7) / 8, bins = pool->size * pool->size;
    dn_await_and_release();
    const int32_t rois = *p->live->rois;
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, eights, bins); /* channels, bin, box */
        const int32_t r = (int32_t)at.map, channel = at.x * 8;
        const int32_t bin_y = at.y / pool->size, bin_x = at.y - bin_y * pool->size;
        const dn_roi *roi = &p->rois[r];
        T *to = p->out + (at.map * bins + at.y) * p->out_pixel + channel;
        float sums[8] = {};
        if (p->first > 0 && r < rois) dn_load_eight(to, sums);
        for (int32_t m = 0; m < p->count && r < rois; m++) {
            const dn_half_map<T> *map = &p->maps[m];
            if (!dn_reads_map(roi, p->first + m)) continue;
            const dn_roi_grid grid = dn_bin_grid(p, map, roi);
            add_points(pool, &grid, map, dn_cells_of(map, roi->image, channel), bin_y, bin_x, sums);
        }
        dn_store_eight(sums, to);
    }
}

/* ---- Launches ---- */

/* So many bins that each thread of a block makes eight channels of one. */
static int32_t bins_of(int32_t channels)
{
    const int32_t bins = DN_BIN_THREADS / ((channels + 7) / 8);
    return bins < 1 ? 1 : bins < DN_BINS ? bins : (int32_t)DN_BINS;
}

template <class T> static dn_status pool_of(const dn_half_rois *call, int32_t rois)
{
    const int32_t bins = call->pool.size * call->pool.size;
    const int64_t count = (int64_t)rois * bins * ((call->pool.channels + 7) / 8);
    const int32_t own = bins_of(call->pool.channels);
    const dim3 grid((unsigned)rois, (unsigned)((bins + own - 1) / own));
    dn_half_bins<T> p = {};
    p.pool = call->pool;
    p.bins = own;
    p.first = call->first;
    p.count = call->count;
    for (int32_t k = 0; k < p.count; k++) {
        const dn_blocked *map = &call->maps[k];
        const int64_t pixel = map->image_stride / ((int64_t)map->h * map->w);
        p.maps[k] = {(const T *)(const void *)map->data,
                     map->h,
                     map->w,
                     (int32_t)pixel,
                     call->places[k].scale_x,
                     call->places[k].scale_y};
    }
    p.rois = call->rois;
    p.live = call->live;
    p.out = (T *)(void *)call->out.data;
    p.out_pixel = call->out.image_stride / bins;
    if (p.pool.samples != 2)
        DN_FOLLOW(pool_points<T>, count, p, count);
    else if (p.pool.maximum)
        DN_FOLLOW_TILES((pool_pairs<T, 2>), grid, DN_BIN_THREADS, 0, p);
    else
        DN_FOLLOW_TILES((pool_pairs<T, 1>), grid, DN_BIN_THREADS, 0, p);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_half_pool_rois(bool bf16, const dn_half_rois *call, int32_t rois)
{
    return bf16 ? pool_of<__nv_bfloat16>(call, rois) : pool_of<__half>(call, rois);
}
