/* Maximum pooling of blocked rows.
 *
 * Small windows are looked at cell by cell. Of larger ones ([maxpool] size=5, 9, 13 of SPP blocks)
 * first the maxima along the rows are taken, then of those along the columns: 2 * size
 * comparisons instead of size^2. Samples outside of the image do not count.
 */
#include "blocked/row_kernels.h"
#include "blocked/vector.h"

#include <float.h>

enum { SMALL = 3 };

static void small_window(const dn_pool_geometry *g, const dn_blocked *in, dn_rows rows, int32_t y,
                         float *to)
{
    for (int32_t x = 0; x < g->out_w; x++, to += DN_LANES) {
        const dn_pool_window w = dn_pool_window_at(g, y, x);
        dn_vec most = dn_vec_set(-FLT_MAX);
        for (int32_t j = w.top; j < w.bottom; j++) {
            const float *row = dn_block_row(in, rows.image, rows.block, j, DN_LANES);
            for (int32_t i = w.left; i < w.right; i++)
                most = dn_vec_max(dn_vec_load(row + i * DN_LANES), most);
        }
        dn_vec_store(to, most);
    }
}

/* The maxima along one input row, one an output column. */
static void along_row(const dn_pool_geometry *g, const float *row, float *to)
{
    for (int32_t x = 0; x < g->out_w; x++, to += DN_LANES) {
        const dn_pool_window w = dn_pool_window_at(g, 0, x);
        dn_vec most = dn_vec_set(-FLT_MAX);
        for (int32_t i = w.left; i < w.right; i++)
            most = dn_vec_max(dn_vec_load(row + i * DN_LANES), most);
        dn_vec_store(to, most);
    }
}

/* scratch: (h, out_w, lanes), the rows' maxima. */
static void large_windows(const dn_pool_geometry *g, const dn_blocked *in, const dn_blocked *out,
                          dn_rows rows, float *scratch)
{
    const int64_t pitch = (int64_t)g->out_w * DN_LANES;
    const int32_t top = dn_pool_window_at(g, rows.first, 0).top;
    const int32_t bottom = dn_pool_window_at(g, rows.last - 1, 0).bottom;
    for (int32_t y = top; y < bottom; y++)
        along_row(g, dn_block_row(in, rows.image, rows.block, y, DN_LANES), scratch + y * pitch);
    for (int32_t y = rows.first; y < rows.last; y++) {
        const dn_pool_window w = dn_pool_window_at(g, y, 0);
        float *to = dn_block_row(out, rows.image, rows.block, y, DN_LANES);
        for (int32_t x = 0; x < g->out_w; x++) {
            dn_vec most = dn_vec_set(-FLT_MAX);
            for (int32_t j = w.top; j < w.bottom; j++)
                most = dn_vec_max(dn_vec_load(scratch + j * pitch + x * DN_LANES), most);
            dn_vec_store(to + x * DN_LANES, most);
        }
    }
}

void DN_ISA_NAME(dn_rows_maxpool)(const dn_pool_geometry *g, const dn_blocked *in,
                                  const dn_blocked *out, dn_rows rows, float *scratch)
{
    if (g->size > SMALL) {
        large_windows(g, in, out, rows, scratch);
        return;
    }
    for (int32_t y = rows.first; y < rows.last; y++)
        small_window(g, in, rows, y, dn_block_row(out, rows.image, rows.block, y, DN_LANES));
}
