/* See depthwise_row.h.
 *
 * Channels lie in the vector's lanes. A row is cut into tiles of up to 8 pixels, whose sums stay in
 * registers; each input vector is loaded once a row of taps. 3x3 and 5x5 with stride 1 and 2 have
 * kernels of their own; any other size, stride and dilation goes pixel by pixel. The last tile may
 * lie partly on the one before: it computes the same values again, which costs less than narrow
 * tiles, whose sums wait for each other.
 */
#include "blocked/depthwise_row.h"

typedef struct tile_work {
    const float *const *rows;
    int64_t in; /* floats from the rows' begin to the first tap of the first pixel */
    const float *weights;
    float *out;
    dn_vec shift, slope;
} tile_work;

/* Adds one row of taps to the sums of `pixels` pixels: each input vector to all that it meets. */
DN_INLINE void add_row(int size, int stride, int pixels, const float *in, const float *weights,
                       dn_vec sums[])
{
    dn_vec w[5];
#pragma GCC unroll 5
    for (int tap = 0; tap < size; ++tap) w[tap] = dn_vec_load(weights + tap * DN_LANES);
#pragma GCC unroll 19
    for (int i = 0; i < (pixels - 1) * stride + size; ++i) {
        const dn_vec x = dn_vec_load(in + i * DN_LANES);
#pragma GCC unroll 5
        for (int tap = 0; tap < size; ++tap) {
            const int p = (i - tap) / stride;
            if (i >= tap && (i - tap) % stride == 0 && p < pixels)
                sums[p] = dn_fma(x, w[tap], sums[p]);
        }
    }
}

/* The tile itself ends with max(x, slope * x) of x = sum + shift; 0 and 1 leave the sum. */
DN_INLINE void run_tile(const tile_work *work, int size, int stride, int pixels)
{
    dn_vec sums[8];
#pragma GCC unroll 8
    for (int p = 0; p < pixels; ++p) sums[p] = work->shift;
    for (int row = 0; row < size; ++row)
        add_row(size, stride, pixels, work->rows[row] + work->in,
                work->weights + row * size * DN_LANES, sums);
#pragma GCC unroll 8
    for (int p = 0; p < pixels; ++p)
        dn_vec_store(work->out + p * DN_LANES, dn_vec_max(sums[p], work->slope * sums[p]));
}

/* A row of `width` pixels by a kernel of constant size and stride. */
DN_INLINE void run_row(tile_work work, int size, int stride, int32_t width)
{
    float *const out = work.out;
    for (int32_t x = 0; x < width;) {
        const int32_t rest = width - x;
        const int32_t pixels = rest > 4 && width >= 8   ? 8
                               : rest > 2 && width >= 4 ? 4
                               : rest > 1               ? 2
                                                        : 1;
        if (pixels > rest) x = width - pixels;
        work.in = (int64_t)x * stride * DN_LANES;
        work.out = out + x * DN_LANES;
        if (pixels == 8)
            run_tile(&work, size, stride, 8);
        else if (pixels == 4)
            run_tile(&work, size, stride, 4);
        else if (pixels == 2)
            run_tile(&work, size, stride, 2);
        else
            run_tile(&work, size, stride, 1);
        x += pixels;
    }
}

static void run_any_row(const dn_conv_geometry *g, const tile_work *work)
{
    for (int32_t x = 0; x < g->out_w; ++x) {
        dn_vec sum = work->shift;
        for (int32_t row = 0; row < g->size; ++row) {
            const float *in = work->rows[row] + x * g->stride_x * DN_LANES;
            for (int32_t tap = 0; tap < g->size; ++tap)
                sum = dn_fma(dn_vec_load(in + tap * g->dilation * DN_LANES),
                             dn_vec_load(work->weights + (row * g->size + tap) * DN_LANES), sum);
        }
        dn_vec_store(work->out + x * DN_LANES, dn_vec_max(sum, work->slope * sum));
    }
}

void DN_ISA_NAME(dn_depthwise_row)(const dn_depthwise_row *row)
{
    const dn_conv_geometry *g = row->geometry;
    const bool dense = g->dilation == 1;
    const tile_work work = {.rows = row->rows,
                            .weights = row->weights,
                            .out = row->out,
                            .shift = row->shift ? dn_vec_load(row->shift) : dn_vec_set(0.0f),
                            .slope = dn_vec_set(row->slope)};
    if (dense && g->size == 3 && g->stride_x == 1)
        run_row(work, 3, 1, g->out_w);
    else if (dense && g->size == 3 && g->stride_x == 2)
        run_row(work, 3, 2, g->out_w);
    else if (dense && g->size == 5 && g->stride_x == 1)
        run_row(work, 5, 1, g->out_w);
    else if (dense && g->size == 5 && g->stride_x == 2)
        run_row(work, 5, 2, g->out_w);
    else
        run_any_row(g, &work);
}
