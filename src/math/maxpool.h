/* Maximum pooling of whole planes. */
#ifndef DN_MATH_MAXPOOL_H
#define DN_MATH_MAXPOOL_H

#include "math/pool.h"

/* Floats of one thread's window. */
int64_t dn_maxpool_window_floats(const dn_pool_geometry *geometry);

/* Each element of out (out_h, out_w) is the first maximum of its window of `plane` (h, w), with
 * the same bits on every instruction set. `window`: dn_maxpool_window_floats. */
void dn_maxpool_plane(const dn_pool_geometry *geometry, const float *plane, float *window,
                      float *out);

/* Adds each element of out_grad (out_h, out_w) to in_grad (h, w) where its window's first maximum
 * is; also the same bits everywhere. */
void dn_maxpool_plane_backward(const dn_pool_geometry *geometry, const float *plane, float *window,
                               const float *out_grad, float *in_grad);

/* One output row. Cell (ky, kx) of column x lies at window[ky * pitch + x * stride + kx]. */
typedef struct dn_maxpool_row {
    const float *window; /* (rows, pitch), readable DN_PACK_SLACK floats beyond the last value */
    int64_t pitch;
    int32_t rows, size; /* of a window: its rows inside of the plane, its columns */
    int32_t stride;     /* horizontal: 1 or 2 */
    int32_t columns;
    float *most;    /* (columns): the maxima; unless first is wanted */
    int32_t *first; /* (columns) or NULL: the first maximum's cell, ky * size + kx */
} dn_maxpool_row;

void dn_maxpool_row_avx2(const dn_maxpool_row *row);

#endif
