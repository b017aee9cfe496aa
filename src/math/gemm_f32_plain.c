/* Register tiles and packing in plain C: up to 4 x 8, float32.
 *
 * The loops have constant bounds, so that any compiler can turn a row of eight sums into the
 * vectors its target has (two of SSE's or NEON's).
 */
#include "math/gemm_kernel.h"

#include <string.h>

enum { ROWS = 4, COLUMNS = 8 };

static float finish(const dn_gemm_tile *tile, int32_t row, float x)
{
    if (!tile->finish) return x;
    if (tile->scale != NULL) x *= tile->scale[row];
    if (tile->shift != NULL) x += tile->shift[row];
    return dn_activate_plain(x, tile->activation, tile->slope);
}

/* Inlined with constant rows: sum (rows, COLUMNS) = a^T b. */
static inline void sum_tile(const dn_gemm_tile *tile, int rows, float sum[ROWS][COLUMNS])
{
    float total[ROWS][COLUMNS] = {{0.0f}};
    const float *a = tile->a, *b = tile->b;
    for (int32_t p = 0; p < tile->k; ++p, a += rows, b += COLUMNS) {
        for (int i = 0; i < rows; ++i) {
            for (int j = 0; j < COLUMNS; ++j) total[i][j] += a[i] * b[j];
        }
    }
    memcpy(sum, total, sizeof total);
}

static void tile_any(const dn_gemm_tile *tile)
{
    float sum[ROWS][COLUMNS];
    switch (tile->rows) {
    case 1:
        sum_tile(tile, 1, sum);
        break;
    case 2:
        sum_tile(tile, 2, sum);
        break;
    case 3:
        sum_tile(tile, 3, sum);
        break;
    default:
        sum_tile(tile, ROWS, sum);
        break;
    }
    for (int32_t i = 0; i < tile->rows; ++i) {
        float *c = tile->c + i * tile->ldc;
        for (int32_t j = 0; j < tile->columns; ++j) {
            const float old = tile->beta == 0.0f ? 0.0f : tile->beta * c[j];
            c[j] = finish(tile, i, tile->alpha * sum[i][j] + old);
        }
    }
}

/* Inlined with constant rows. */
static inline void run_window_tile(const dn_window_tile *tile, int rows)
{
    float sum[ROWS][COLUMNS] = {{0.0f}};
    const float *window = tile->window, *b = tile->b;
    for (int32_t y = 0; y < tile->counts[0]; ++y, window += tile->strides[0]) {
        const float *from = window;
        for (int32_t x = 0; x < tile->counts[1]; ++x, from += tile->strides[1], b += COLUMNS) {
            for (int i = 0; i < rows; ++i) {
                const float left = from[tile->offsets[i]];
                for (int j = 0; j < COLUMNS; ++j) sum[i][j] += left * b[j];
            }
        }
    }
    for (int i = 0; i < rows; ++i) {
        float *c = tile->c + i * COLUMNS;
        for (int j = 0; j < COLUMNS; ++j) c[j] = (tile->add ? c[j] : 0.0f) + sum[i][j];
    }
}

static void window_any(const dn_window_tile *tile)
{
    switch (tile->rows) {
    case 1:
        run_window_tile(tile, 1);
        break;
    case 2:
        run_window_tile(tile, 2);
        break;
    case 3:
        run_window_tile(tile, 3);
        break;
    default:
        run_window_tile(tile, ROWS);
        break;
    }
}

static void pack_copy(const float *in, ptrdiff_t ld, int32_t k, int32_t width, int32_t pitch,
                      float *out)
{
    for (int32_t p = 0; p < k; ++p, in += ld, out += pitch) {
        memcpy(out, in, (size_t)width * sizeof(float));
        for (int32_t i = width; i < pitch; ++i) out[i] = 0.0f;
    }
}

static void pack_transpose(const float *in, ptrdiff_t ld, int32_t k, int32_t width, int32_t pitch,
                           float *out)
{
    for (int32_t p = 0; p < k; ++p, ++in, out += pitch) {
        for (int32_t i = 0; i < width; ++i) out[i] = in[i * ld];
        for (int32_t i = width; i < pitch; ++i) out[i] = 0.0f;
    }
}

static void pack_window(const dn_pack_window *w, float *out)
{
    for (int32_t i = 0; i < w->counts[0]; ++i) {
        for (int32_t j = 0; j < w->counts[1]; ++j) {
            const float *from = w->window + i * w->strides[0] + j * w->strides[1];
            for (int32_t k = 0; k < w->counts[2]; ++k, from += w->strides[2], out += COLUMNS) {
                for (int l = 0; l < COLUMNS; ++l) out[l] = from[w->offsets[l]];
            }
        }
    }
}

const dn_gemm_kernel dn_gemm_kernel_plain = {
    .rows = ROWS,
    .columns = COLUMNS,
    .lanes = COLUMNS,
    .window_rows = ROWS,
    .tile = tile_any,
    .window_tile = window_any,
    .pack_copy = pack_copy,
    .pack_transpose = pack_transpose,
    .pack_window = pack_window,
};
