/* Images to column matrices and back, on the device; the layout is math/col2im.h's. */
#ifndef DN_CUDA_COLUMNS_H
#define DN_CUDA_COLUMNS_H

#include "core/status.h"
#include "math/col2im.h"

/* A matrix (c * size * size) x (images * rows * out_w) of output rows first .. first + rows - 1. */
typedef struct dn_columns {
    dn_conv_geometry geometry;
    int32_t images;
    int64_t image_step; /* floats from an image's part of a group to the next image's */
    int32_t first, rows;
    int64_t pitch;       /* floats from one row of the matrix to the next */
    int64_t column_step; /* floats from an image's first column to the next image's */
} dn_columns;

dn_status dn_cuda_im2col(const dn_columns *columns, const float *image, float *matrix);

/* Maps (images, rows, columns), `step` floats an image, side by side: (rows, images, columns). */
typedef struct dn_side {
    int64_t step;
    int32_t images, columns;
    int64_t rows;
} dn_side;

dn_status dn_cuda_lay_side(const dn_side *side, const float *maps, float *matrix);

/* Back: maps = or += the matrix. */
dn_status dn_cuda_spread_side(const dn_side *side, const float *matrix, bool accumulate,
                              float *maps);

/* image = or += for each pixel the sum of the entries whose tap reads it, in the taps' order. */
dn_status dn_cuda_col2im(const dn_columns *columns, const float *matrix, bool accumulate,
                         float *image);

#endif
