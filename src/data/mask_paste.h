/* Pasting: from the branch's M x M probabilities to pixels of the original image.
 *
 * Pixel (x, y) has its centre at x + 0.5 and so lies at u = (x + 0.5 - x0) / (x1 - x0) * M - 0.5
 * among the mask's cells, v alike. The probability there is bilinear between the four nearest cell
 * centres, cells outside the mask being 0, and the pixel is set where it reaches the threshold.
 * Nothing is rounded to whole pixels or resampled before that. The box is continuous and may leave
 * the image.
 *
 * Method: along an image column the probability is a chain of at most M + 1 straight pieces. The
 * first and the last pixel of a piece tell whether it crosses the threshold, and bisection finds
 * where; so the cost follows M and the outline, not the area, and the runs come out directly. The
 * arithmetic is double and monotone within a piece, so this equals testing every pixel.
 */
#ifndef DN_DATA_MASK_PASTE_H
#define DN_DATA_MASK_PASTE_H

#include "data/geometry.h"
#include "data/rle.h"

/* The public functions are dn_mask_paste and dn_mask_paste_dense in darknet.h. */

#endif
