/* What half_rois.cu is called with, and which cells of its maps a box's bins touch where they have
 * two points on each axis. */
#ifndef DN_CUDA_HALF_BINS_H
#define DN_CUDA_HALF_BINS_H

#include "half_rows.h"
#include "launch.h"

/* Bins of a block at most; its threads; cells of an axis that two points touch at most. */
static constexpr int DN_BINS = 24, DN_BIN_THREADS = 8 * DN_WARP, DN_TOUCHED = 4;

template <class T> struct dn_half_map {
    const T *data;
    int32_t h, w, pixel;
    float scale_x, scale_y;
};

template <class T> struct dn_half_bins {
    dn_roi_pool pool;
    int32_t bins;         /* of a block */
    int32_t first, count; /* maps, and which of the layer's the first one is */
    dn_half_map<T> maps[DN_HALF_MAPS];
    const dn_roi *rois;
    const dn_half_live *live;
    T *out;
    int64_t out_pixel;
};

static __device__ inline bool dn_reads_map(const dn_roi *roi, int32_t level)
{
    return roi->level < 0 || roi->level == level;
}

template <class T>
static __device__ inline dn_roi_grid dn_bin_grid(const dn_half_bins<T> *p,
                                                 const dn_half_map<T> *map, const dn_roi *roi)
{
    const float box[4] = {roi->expanded.x0, roi->expanded.y0, roi->expanded.x1, roi->expanded.y1};
    return dn_roi_grid_of(box, map->scale_x, map->scale_y, p->pool.size * p->pool.samples);
}

/* Image `image` of the map, from `channel` on. */
template <class T>
static __device__ inline const T *dn_cells_of(const dn_half_map<T> *map, int32_t image,
                                              int32_t channel)
{
    return map->data + (int64_t)image * map->h * map->w * map->pixel + channel;
}

/* What a bin's points touch on one axis of a map. */
struct alignas(16) dn_bin_axis {
    float weights[2][DN_TOUCHED]; /* of each point; for averages the first is both points' */
    int32_t at[DN_TOUCHED];       /* cells, in the map's pixels */
    int32_t count;                /* of them */
};

typedef struct dn_bin {
    dn_bin_axis y, x;
} dn_bin;

static __device__ inline void dn_touch_cell(dn_bin_axis *axis, int point, int32_t at, float weight)
{
    int k = 0;
    if (weight == 0.0f) return;
    while (k < axis->count && axis->at[k] != at) k++;
    if (k == axis->count) axis->at[axis->count++] = at;
    axis->weights[point][k] += weight;
}

/* `step` pixels lie between two cells. */
static __device__ inline void dn_fill_axis(float start, float width, int32_t bin, int32_t cells,
                                           int32_t step, bool maximum, dn_bin_axis *axis)
{
    *axis = {};
    for (int32_t k = 0; k < 2; k++) {
        const dn_roi_tap tap = dn_roi_tap_at(start, width, 2 * bin + k, cells);
        dn_touch_cell(axis, maximum ? k : 0, tap.low * step, tap.low_weight);
        dn_touch_cell(axis, maximum ? k : 0, tap.high * step, tap.high_weight);
    }
}

/* bins (p->bins, maps) of a box, from bin `first` on; a thread an axis. */
template <class T>
static __device__ inline void dn_find_bins(const dn_half_bins<T> *p, const dn_roi *roi,
                                           int32_t first, dn_bin *bins)
{
    for (int32_t i = (int32_t)threadIdx.x; i < 2 * p->bins * p->count; i += DN_BIN_THREADS) {
        const int32_t bin = i / 2 / p->count, m = i / 2 - bin * p->count;
        const int32_t bin_y = (first + bin) / p->pool.size;
        const int32_t bin_x = first + bin - bin_y * p->pool.size;
        const dn_half_map<T> *map = &p->maps[m];
        const dn_roi_grid grid = dn_bin_grid(p, map, roi);
        dn_bin_axis *axis = i % 2 ? &bins[i / 2].x : &bins[i / 2].y;
        if (!dn_reads_map(roi, p->first + m))
            axis->count = 0;
        else if (i % 2)
            dn_fill_axis(grid.start_x, grid.step_x, bin_x, map->w, 1, p->pool.maximum, axis);
        else
            dn_fill_axis(grid.start_y, grid.step_y, bin_y, map->h, map->w, p->pool.maximum, axis);
    }
}

#endif
