/* How conv_gemm.cu cuts a convolution into slices: whole images, or output rows of one. */
#ifndef DN_CUDA_CONV_SLICES_H
#define DN_CUDA_CONV_SLICES_H

#include "math/conv.h"

/* Images and output rows of a slice, at most. */
typedef struct dn_slicing {
    int32_t images, rows;
} dn_slicing;

typedef struct dn_slice {
    int32_t image, images;
    int32_t row, rows;
} dn_slice;

static inline int64_t dn_taps_of(const dn_conv_args *args) /* of one filter */
{
    return (int64_t)args->geometry.c * args->geometry.size * args->geometry.size;
}

static inline int64_t dn_pixels_of(const dn_conv_args *args)
{
    return (int64_t)args->geometry.out_h * args->geometry.out_w;
}

static inline int64_t dn_smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t dn_larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* As many images, or else rows, as have at most `floats` of `row` floats an output row. */
static inline dn_slicing dn_cut(const dn_conv_args *args, int64_t row, int64_t floats,
                                int64_t images)
{
    const dn_conv_geometry *g = &args->geometry;
    dn_slicing slicing = {1, g->out_h};
    if (row * g->out_h > floats)
        slicing.rows = (int32_t)dn_smaller(g->out_h, dn_larger(1, floats / row));
    else
        slicing.images = (int32_t)dn_larger(1, dn_smaller(images, floats / (row * g->out_h)));
    return slicing;
}

/* The slice that follows `slice`, {0} before the first; false after the last. */
static inline bool dn_next_slice(const dn_conv_args *a, dn_slicing slicing, int32_t images,
                                 dn_slice *slice)
{
    const int32_t rows = a->geometry.out_h;
    slice->row += slice->rows;
    if (slice->rows == 0 || slice->row == rows) {
        slice->image += slice->images;
        slice->row = 0;
    }
    slice->images = (int32_t)dn_smaller(slicing.images, images - slice->image);
    slice->rows = (int32_t)dn_smaller(slicing.rows, rows - slice->row);
    return slice->images > 0;
}

#endif
