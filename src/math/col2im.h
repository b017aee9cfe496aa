/* Convolution as a matrix product: columns back to images.
 *
 * Row (channel, ky, kx) of a column matrix belongs to one tap of the filter and holds a value for
 * every output pixel; the tap reads one input pixel there, or the padding.
 */
#ifndef DN_MATH_COL2IM_H
#define DN_MATH_COL2IM_H

#include <stdint.h>

typedef struct dn_conv_geometry {
    int32_t c, h, w;            /* input of one image (or of one group of its channels) */
    int32_t size;               /* the filter is size x size */
    int32_t stride_x, stride_y; /* at least 1 */
    int32_t pad;          /* zeros before the first row and column; after the last, as needed */
    int32_t dilation;     /* distance between taps, at least 1 */
    int32_t out_h, out_w; /* chosen by the caller: the taps beyond the input read 0 */
} dn_conv_geometry;

/* image += for each pixel, the sum of the columns' entries whose tap reads it. */
void dn_col2im(const dn_conv_geometry *geometry,
               const float *cols, /* (c * size * size, out_h * out_w) */
               float *image /* (c, h, w) */);

#endif
