/* One row of an image along the columns of a letterbox (letterbox.h), in C and for AVX2 with the
 * same bits.
 */
#ifndef DN_MATH_LETTERBOX_ROW_H
#define DN_MATH_LETTERBOX_ROW_H

#include "math/letterbox.h"

/* Output columns begin..end-1 lie inside the image, and each is weights of two pixels' values. */
typedef struct dn_letterbox_columns {
    int32_t begin, end;
    int32_t *left, *right;             /* (end): where the pixels begin in a row, bytes */
    float *left_weight, *right_weight; /* (end) */
} dn_letterbox_columns;

/* Columns from..to-1 of a row's red, green and blue, `plane` floats apart. */
static inline void dn_letterbox_row(const dn_letterbox_columns *columns, const uint8_t *line,
                                    int32_t from, int32_t to, float *row, int64_t plane)
{
    for (int32_t x = from; x < to; x++)
        for (int32_t c = 0; c < 3; c++)
            row[c * plane + x] =
                columns->left_weight[x] * dn_byte_value(line[columns->left[x] + c]) +
                columns->right_weight[x] * dn_byte_value(line[columns->right[x] + c]);
}

/* Reads up to one byte behind each pixel: the caller sees to it that they are there. */
void dn_letterbox_row_avx2(const dn_letterbox_columns *columns, const uint8_t *line, int32_t from,
                           int32_t to, float *row, int64_t plane);

#endif
