/* Boxes' bins from maps in half precision: see half_rows.h; the geometry is math/roialign.h's. One
 * thread makes eight channels of a bin. */
#include "half_rows.h"

#include "half.h"
#include "place.h"

template <class T> struct dn_half_map {
    const T *data;
    int32_t h, w;
    int64_t pixel;
};

template <class T> struct dn_half_map_list {
    int32_t first, count;
    dn_half_map<T> maps[DN_HALF_MAPS];
};

/* values = the map's at a point: the eight channels from `cells` on. */
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
static __device__ inline void add_bin(const dn_roi_pool *pool, const dn_roi_grid *grid,
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
static __global__ void pool_bins(dn_roi_table table, dn_roi_pool pool, dn_half_map_list<T> list,
                                 const dn_half_live *live, T *out, int64_t out_pixel, int64_t count)
{
    const int32_t eights = (pool.channels + 7) / 8, bins = pool.size * pool.size, rois = live->rois;
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, eights, bins); /* channels, bin, box */
        const int32_t r = (int32_t)at.map, channel = at.x * 8;
        const int32_t bin_y = at.y / pool.size, bin_x = at.y - bin_y * pool.size;
        T *to = out + (at.map * bins + at.y) * out_pixel + channel;
        float sums[8] = {};
        if (list.first > 0 && r < rois) dn_load_eight(to, sums);
        for (int32_t m = 0; m < list.count && r < rois; m++) {
            const dn_half_map<T> *map = &list.maps[m];
            const int64_t level = list.first + m;
            const dn_roi_place *place = &table.places[level * table.capacity + r];
            if (place->top >= place->bottom) continue;
            const T *cells =
                map->data + (int64_t)place->image * map->h * map->w * map->pixel + channel;
            const dn_roi_grid grid = place->grid;
            add_bin(&pool, &grid, map, cells, bin_y, bin_x, sums);
        }
        dn_store_eight(sums, to);
    }
}

template <class T>
static dn_status pool_of(const dn_roi_table *table, const dn_roi_pool *pool,
                         const dn_half_maps *maps, const dn_half_live *live, const dn_blocked *out,
                         int32_t rois)
{
    const int64_t bins = (int64_t)pool->size * pool->size;
    const int64_t count = rois * bins * ((pool->channels + 7) / 8);
    dn_half_map_list<T> list = {};
    list.first = maps->first;
    list.count = maps->count;
    for (int32_t k = 0; k < maps->count; k++) {
        const dn_blocked *map = &maps->maps[k];
        list.maps[k].data = (const T *)(const void *)map->data;
        list.maps[k].h = map->h;
        list.maps[k].w = map->w;
        list.maps[k].pixel = map->image_stride / ((int64_t)map->h * map->w);
    }
    DN_LAUNCH(pool_bins<T>, count, *table, *pool, list, live, (T *)(void *)out->data,
              out->image_stride / bins, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_half_rois(bool bf16, const dn_roi_table *table, const dn_roi_pool *pool,
                       const dn_half_maps *maps, const dn_half_live *live, const dn_blocked *out,
                       int32_t rois)
{
    return bf16 ? pool_of<__nv_bfloat16>(table, pool, maps, live, out, rois)
                : pool_of<__half>(table, pool, maps, live, out, rois);
}
