/* Pasting a mask into an image, what one pixel, one cell and one straight piece are; the whole of
 * it: data/mask_paste.c, on CUDA cuda/paste.cu.
 *
 * Pixel (x, y) has its centre at x + 0.5 and so lies at u = (x + 0.5 - x0) / (x1 - x0) * M - 0.5
 * among the mask's cells, v alike. The probability there is bilinear between the four nearest cell
 * centres, first between left and right, cells outside the mask being 0. Arithmetic is double and,
 * between two cells, monotone, so that a search finds where a line crosses the threshold.
 */
#ifndef DN_MATH_MASK_PASTE_H
#define DN_MATH_MASK_PASTE_H

#include "math/portable.h"

/* One axis of the box that a mask covers, in image pixels. */
typedef struct dn_paste_axis {
    double from, to;
    int32_t side; /* cells */
} dn_paste_axis;

/* Where the centre of a pixel lies among the cells: on the centre of cell c it is c. */
DN_HD double dn_paste_cell_at(dn_paste_axis axis, int32_t pixel)
{
    return (pixel + 0.5 - axis.from) / (axis.to - axis.from) * axis.side - 0.5;
}

/* The first pixel of low..high at or behind `cell`. */
DN_HD int32_t dn_paste_first_pixel(dn_paste_axis axis, int32_t low, int32_t high, double cell)
{
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (dn_paste_cell_at(axis, middle) >= cell)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Between two cells, `behind` the first one by 0..1. */
DN_HD double dn_paste_between(double a, double b, double behind)
{
    return a + behind * (b - a);
}

/* What rounding may do to a probability is far less than this: between two cells that both surely
 * are on one side of the threshold every pixel is. */
#define DN_NEAR_THRESHOLD 1e-9

DN_HD bool dn_paste_surely_inside(double value, double threshold)
{
    return value >= threshold + DN_NEAR_THRESHOLD && value <= 2;
}

DN_HD bool dn_paste_surely_outside(double value, double threshold)
{
    return value <= threshold - DN_NEAR_THRESHOLD && value >= -1;
}

/* Along an image column piece p holds the pixels begin..end - 1 between the centres of cells p - 1
 * and p, which there have the values a and b. */
typedef struct dn_paste_piece {
    dn_paste_axis axis;
    int32_t index, begin, end;
    double a, b, threshold;
} dn_paste_piece;

DN_HD bool dn_paste_is_set(const dn_paste_piece *piece, int32_t pixel)
{
    const double behind = dn_paste_cell_at(piece->axis, pixel) - (piece->index - 1);
    return dn_paste_between(piece->a, piece->b, behind) >= piece->threshold;
}

/* The first pixel that is not as the piece's first ones, which are `set`; else its end. */
DN_HD int32_t dn_paste_search_turn(const dn_paste_piece *piece, bool set)
{
    int32_t low = piece->begin, high = piece->end;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (dn_paste_is_set(piece, middle) == set)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Cells above one half, in their order. */
typedef struct dn_mask_sum {
    float sum;
    int32_t count;
} dn_mask_sum;

DN_HD void dn_mask_sum_add(dn_mask_sum *sum, const float *cells, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        if (!(cells[i] > 0.5f)) continue;
        sum->sum += cells[i];
        sum->count++;
    }
}

/* Their mean, "maskness"; 0: there is none. */
DN_HD float dn_mask_sum_mean(const dn_mask_sum *sum)
{
    return sum->count ? sum->sum / (float)sum->count : 0.0f;
}

DN_HD float dn_mask_mean_above_half(const float *mask, int32_t cells)
{
    dn_mask_sum sum = {0.0f, 0};
    dn_mask_sum_add(&sum, mask, cells);
    return dn_mask_sum_mean(&sum);
}

#endif
