/* Sums, products and activations of blocked rows, and means of whole maps.
 *
 * What can be part of a convolution's step is; these run where it cannot. A mean is a sum of the
 * rows' sums, so its rounding errors stay small on large maps.
 */
#include "blocked/row_kernels.h"
#include "blocked/vector.h"

void DN_ISA_NAME(dn_rows_add)(const float factors[2], const dn_blocked *a, const dn_blocked *b,
                              dn_activation activation, const dn_blocked *out, dn_rows rows)
{
    const int64_t count = (int64_t)(rows.last - rows.first) * out->w * DN_LANES;
    const float *left = dn_block_row(a, rows.image, rows.block, rows.first, DN_LANES);
    const float *right = dn_block_row(b, rows.image, rows.block, rows.first, DN_LANES);
    float *to = dn_block_row(out, rows.image, rows.block, rows.first, DN_LANES);
    const dn_vec alpha = dn_vec_set(factors[0]), beta = dn_vec_set(factors[1]);
    for (int64_t i = 0; i < count; i += DN_LANES)
        dn_vec_store(to + i, alpha * dn_vec_load(left + i) + beta * dn_vec_load(right + i));
    if (activation != DN_ACTIVATION_linear) dn_activate_array(activation, to, to, count);
}

void DN_ISA_NAME(dn_rows_scale)(const dn_blocked *scales, const dn_blocked *map,
                                dn_activation activation, const dn_blocked *out, dn_rows rows)
{
    const int64_t count = (int64_t)(rows.last - rows.first) * out->w * DN_LANES;
    const float *from = dn_block_row(map, rows.image, rows.block, rows.first, DN_LANES);
    float *to = dn_block_row(out, rows.image, rows.block, rows.first, DN_LANES);
    const dn_vec by = dn_vec_load(dn_block_row(scales, rows.image, rows.block, 0, DN_LANES));
    for (int64_t i = 0; i < count; i += DN_LANES) dn_vec_store(to + i, by * dn_vec_load(from + i));
    if (activation != DN_ACTIVATION_linear) dn_activate_array(activation, to, to, count);
}

void DN_ISA_NAME(dn_rows_activate)(const dn_blocked *in, dn_activation activation,
                                   const dn_blocked *out, dn_rows rows)
{
    const int64_t count = (int64_t)(rows.last - rows.first) * out->w * DN_LANES;
    dn_activate_array(activation, dn_block_row(in, rows.image, rows.block, rows.first, DN_LANES),
                      dn_block_row(out, rows.image, rows.block, rows.first, DN_LANES), count);
}

void DN_ISA_NAME(dn_rows_average)(const dn_blocked *in, const dn_blocked *out, dn_rows rows)
{
    dn_vec sum = dn_vec_set(0.0f);
    for (int32_t y = 0; y < in->h; y++) {
        const float *row = dn_block_row(in, rows.image, rows.block, y, DN_LANES);
        dn_vec of_row = dn_vec_set(0.0f);
        for (int32_t x = 0; x < in->w; x++) of_row = of_row + dn_vec_load(row + x * DN_LANES);
        sum = sum + of_row;
    }
    dn_vec_store(dn_block_row(out, rows.image, rows.block, 0, DN_LANES),
                 sum * dn_vec_set(1.0f / ((float)in->h * (float)in->w)));
}
