/* Convolution as a matrix product: images to columns and back.
 *
 * Row (channel, ky, kx) of the column matrix holds, for every output pixel, the input value under
 * that tap, or 0 where the tap falls into the padding.
 */
#ifndef DN_MATH_IM2COL_H
#define DN_MATH_IM2COL_H

#include <stdint.h>

typedef struct dn_conv_geometry {
    int32_t c, h, w;            /* input of one image (or of one group of its channels) */
    int32_t size;               /* the filter is size x size */
    int32_t stride_x, stride_y; /* at least 1 */
    int32_t pad;          /* zeros before the first row and column; after the last, as needed */
    int32_t dilation;     /* distance between taps, at least 1 */
    int32_t out_h, out_w; /* chosen by the caller: the taps beyond the input read 0 */
} dn_conv_geometry;

/* cols = columns of `image`. */
void dn_im2col(const dn_conv_geometry *geometry, const float *image, /* (c, h, w) */
               float *cols /* (c * size * size, out_h * out_w) */);

/* image += the sum of the columns' entries that dn_im2col would read from each pixel. */
void dn_col2im(const dn_conv_geometry *geometry,
               const float *cols, /* (c * size * size, out_h * out_w) */
               float *image /* (c, h, w) */);

#endif
