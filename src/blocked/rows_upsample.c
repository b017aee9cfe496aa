/* Nearest-neighbour enlargement of blocked rows. */
#include "blocked/row_kernels.h"
#include "blocked/vector.h"

void DN_ISA_NAME(dn_rows_upsample)(int32_t factor, float scale, const dn_blocked *in,
                                   const dn_blocked *out, dn_rows rows)
{
    const dn_vec by = dn_vec_set(scale);
    for (int32_t y = rows.first; y < rows.last; y++) {
        const float *from = dn_block_row(in, rows.image, rows.block, y / factor, DN_LANES);
        float *to = dn_block_row(out, rows.image, rows.block, y, DN_LANES);
        for (int32_t x = 0; x < in->w; x++, from += DN_LANES) {
            const dn_vec value = by * dn_vec_load(from);
            for (int32_t k = 0; k < factor; k++, to += DN_LANES) dn_vec_store(to, value);
        }
    }
}
