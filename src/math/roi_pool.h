/* RoIAlign on the CPU: whole boxes at a time, forward and backward. The geometry is roialign.h's.
 *
 * Bilinear interpolation is separable, so a box is pooled in two passes: rows of cells are summed
 * into one row for each line of bins (of points, for the maximum), then columns into bins. The
 * weights of each line are merged and computed once a box and map, not once a channel. Forward runs
 * over channels-last maps, so that every inner loop is over channels; backward over planes, so that
 * threads can own channels and every cell is summed in one order whatever the number of threads.
 */
#ifndef DN_MATH_ROI_POOL_H
#define DN_MATH_ROI_POOL_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dn_roi_pool {
    int32_t channels;
    int32_t size;    /* bins on each axis */
    int32_t samples; /* points of a bin on each axis */
    bool maximum;    /* of a bin's points; else their average */
} dn_roi_pool;

typedef struct dn_roi_map {
    int32_t h, w;
    float scale_x, scale_y; /* cells a pixel */
} dn_roi_map;

/* Floats of scratch that one call needs (a thread's own). */
int64_t dn_roi_pool_scratch(const dn_roi_pool *pool, const dn_roi_map *map);

/* out[s][c] = in[c][s] for c < channels, s < spatial. */
void dn_roi_channels_last(const float *in, int32_t channels, int64_t spatial, int32_t threads,
                          float *out);

/* Adds the box's bins to `pooled` (size, size, channels); cells are (h, w, channels). */
void dn_roi_pool_forward(const dn_roi_pool *pool, const dn_roi_map *map, const float box[4],
                         const float *cells, float *scratch, float *pooled);

/* Adds the gradient of channels first..last-1 to `grad` (channels, h, w), from pooled_grad
 * (channels, size, size); cells, (channels, h, w), are read for the maximum only. */
void dn_roi_pool_backward(const dn_roi_pool *pool, const dn_roi_map *map, const float box[4],
                          const float *cells, const float *pooled_grad, int32_t first, int32_t last,
                          float *scratch, float *grad);

#ifdef __cplusplus
}
#endif

#endif
