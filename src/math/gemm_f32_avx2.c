/* Register tiles and packing for AVX2 with FMA: up to 6 x 16, float32.
 *
 * 12 accumulators, two vectors of B and one broadcast value of A fit the 16 registers. A tile with
 * fewer rows or columns has a function of its own. Only what ends within a vector is stored in
 * parts.
 */
#include "math/gemm_kernel.h"

#include "math/tile_activation_avx2.h"

#include <string.h>

enum { ROWS = 6, LANES = 8, VECTORS = 2 };
enum { AHEAD = 64 }; /* steps of k from the request of A's values to their use: memory's latency */

static inline __m256 finish(const dn_gemm_tile *tile, int row, __m256 x)
{
    const __m256 shift = _mm256_set1_ps(tile->shift ? tile->shift[row] : 0.0f);
    const __m256 scale = _mm256_set1_ps(tile->scale ? tile->scale[row] : 1.0f);
    return dn_activate_avx2(_mm256_fmadd_ps(x, scale, shift), tile->activation, tile->slope);
}

/* alpha * sum + beta * c, then the epilogue, for one row. */
static inline void store_row(const dn_gemm_tile *tile, int row, const __m256 *sum, int vectors)
{
    float *c = tile->c + row * tile->ldc;
    for (int v = 0; v < vectors; ++v) {
        const int32_t lanes = tile->columns - v * LANES;
        __m256 x = _mm256_mul_ps(sum[v], _mm256_set1_ps(tile->alpha));
        if (tile->beta != 0.0f) {
            const __m256i mask = dn_first_lanes_avx2(lanes);
            const __m256 old = _mm256_maskload_ps(c + v * LANES, mask);
            x = _mm256_fmadd_ps(old, _mm256_set1_ps(tile->beta), x);
        }
        if (tile->finish) x = finish(tile, row, x);
        dn_store_lanes_avx2(c + v * LANES, lanes, x);
    }
}

/* Inlined with constant rows and vectors: the sums live in registers, every loop is unrolled. */
static inline __attribute__((always_inline)) void run_tile(const dn_gemm_tile *tile, int rows,
                                                           int vectors)
{
    __m256 sum[ROWS][VECTORS];
    for (int i = 0; i < rows; ++i) {
        for (int v = 0; v < vectors; ++v) sum[i][v] = _mm256_setzero_ps();
        const float *c = tile->c + i * tile->ldc;
        _mm_prefetch((const char *)c, _MM_HINT_T0);
        _mm_prefetch((const char *)(c + tile->columns - 1), _MM_HINT_T0);
    }
    const float *a = tile->a, *b = tile->b, *ahead = tile->ahead;
    for (int32_t p = 0; p < tile->k; ++p) {
        _mm_prefetch((const char *)(a + AHEAD * rows), _MM_HINT_T0);
        _mm_prefetch((const char *)ahead, _MM_HINT_T1);
        ahead += tile->ahead_step;
        __m256 right[VECTORS];
        for (int v = 0; v < vectors; ++v) right[v] = _mm256_loadu_ps(b + v * LANES);
        for (int i = 0; i < rows; ++i) {
            const __m256 left = _mm256_set1_ps(a[i]);
            for (int v = 0; v < vectors; ++v) {
                sum[i][v] = _mm256_fmadd_ps(left, right[v], sum[i][v]);
            }
        }
        a += rows;
        b += vectors * LANES;
    }
    for (int i = 0; i < rows; ++i) store_row(tile, i, sum[i], vectors);
}

#define DN_ALL_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)

#define DN_TILE_FUNCTIONS(rows)                                                                    \
    static void tile_##rows##x1(const dn_gemm_tile *tile)                                          \
    {                                                                                              \
        run_tile(tile, rows, 1);                                                                   \
    }                                                                                              \
    static void tile_##rows##x2(const dn_gemm_tile *tile)                                          \
    {                                                                                              \
        run_tile(tile, rows, 2);                                                                   \
    }
DN_ALL_ROWS(DN_TILE_FUNCTIONS)

static void tile_any(const dn_gemm_tile *tile)
{
#define DN_TILE_ENTRY(rows) {tile_##rows##x1, tile_##rows##x2},
    static void (*const functions[ROWS][VECTORS])(const dn_gemm_tile *) = {
        DN_ALL_ROWS(DN_TILE_ENTRY)};
    functions[tile->rows - 1][(tile->columns - 1) / LANES](tile);
}

/* Inlined like run_tile. Rows have a pointer each: they and the sums must fit the registers. */
static inline __attribute__((always_inline)) void run_window_tile(const dn_window_tile *tile,
                                                                  int rows, int vectors)
{
    __m256 sum[ROWS][VECTORS];
    const float *from[ROWS], *b = tile->b;
    for (int i = 0; i < rows; ++i) {
        for (int v = 0; v < vectors; ++v) sum[i][v] = _mm256_setzero_ps();
        from[i] = tile->window + tile->offsets[i];
    }
    const ptrdiff_t step = tile->strides[1];
    for (int32_t y = 0; y < tile->counts[0]; ++y) {
        ptrdiff_t at = 0;
        for (int32_t x = 0; x < tile->counts[1]; ++x, at += step, b += vectors * LANES) {
            __m256 right[VECTORS];
            for (int v = 0; v < vectors; ++v) right[v] = _mm256_loadu_ps(b + v * LANES);
            for (int i = 0; i < rows; ++i) {
                const __m256 left = _mm256_set1_ps(from[i][at]);
                for (int v = 0; v < vectors; ++v) {
                    sum[i][v] = _mm256_fmadd_ps(left, right[v], sum[i][v]);
                }
            }
        }
        for (int i = 0; i < rows; ++i) from[i] += tile->strides[0];
    }
    for (int i = 0; i < rows; ++i) {
        for (int v = 0; v < vectors; ++v) {
            float *c = tile->c + (i * vectors + v) * LANES;
            const __m256 old = tile->add ? _mm256_loadu_ps(c) : _mm256_setzero_ps();
            _mm256_storeu_ps(c, _mm256_add_ps(old, sum[i][v]));
        }
    }
}

#define DN_WINDOW_FUNCTIONS(rows)                                                                  \
    static void window_##rows##x1(const dn_window_tile *tile)                                      \
    {                                                                                              \
        run_window_tile(tile, rows, 1);                                                            \
    }                                                                                              \
    static void window_##rows##x2(const dn_window_tile *tile)                                      \
    {                                                                                              \
        run_window_tile(tile, rows, 2);                                                            \
    }
DN_ALL_ROWS(DN_WINDOW_FUNCTIONS)

static void window_any(const dn_window_tile *tile)
{
#define DN_WINDOW_ENTRY(rows) {window_##rows##x1, window_##rows##x2},
    static void (*const functions[ROWS][VECTORS])(const dn_window_tile *) = {
        DN_ALL_ROWS(DN_WINDOW_ENTRY)};
    functions[tile->rows - 1][tile->pitch / LANES - 1](tile);
}

/* How many lanes of a vector to store to row p of `k` rows of `pitch` floats, from column i on.
 * Rows shorter than a vector are written in ascending order: the next ones cover what is too much.
 */
static inline int32_t lanes_to_store(int32_t k, int32_t p, int32_t pitch, int32_t i)
{
    if (pitch < LANES && (int64_t)(k - p) * pitch >= LANES) return LANES;
    return pitch - i;
}

static void pack_copy(const float *in, ptrdiff_t ld, int32_t k, int32_t width, int32_t pitch,
                      float *out)
{
    for (int32_t i = 0; i < pitch; i += LANES) {
        const __m256i read = dn_first_lanes_avx2(width - i);
        for (int32_t p = 0; p < k; ++p) {
            const __m256 x = _mm256_maskload_ps(in + p * ld + i, read);
            dn_store_lanes_avx2(out + (ptrdiff_t)p * pitch + i, lanes_to_store(k, p, pitch, i), x);
        }
    }
}

/* Transposes the 8 x 8 block in place: pairs of floats, pairs of pairs, then halves. */
static inline void transpose_block(__m256 *x)
{
    __m256 t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        for (int half = 0; half < 2; ++half) {
            const __m256d low = _mm256_castps_pd(t[i + half]);
            const __m256d high = _mm256_castps_pd(t[i + half + 2]);
            x[i + 2 * half] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
            x[i + 2 * half + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
        }
    }
    for (int i = 0; i < 4; ++i) {
        t[i] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x31);
    }
    memcpy(x, t, sizeof t);
}

static void pack_transpose(const float *in, ptrdiff_t ld, int32_t k, int32_t width, int32_t pitch,
                           float *out)
{
    for (int32_t i = 0; i < pitch; i += LANES) {
        const int32_t rows = width - i < LANES ? width - i : LANES;
        for (int32_t p = 0; p < k; p += LANES) {
            const __m256i read = dn_first_lanes_avx2(k - p);
            __m256 x[LANES];
            for (int r = 0; r < LANES; ++r) {
                x[r] = r < rows ? _mm256_maskload_ps(in + (i + r) * ld + p, read)
                                : _mm256_setzero_ps();
            }
            transpose_block(x);
            const int32_t steps = k - p < LANES ? k - p : LANES;
            float *to = out + (ptrdiff_t)p * pitch + i;
            for (int32_t r = 0; r < steps; ++r) {
                dn_store_lanes_avx2(to + r * pitch, lanes_to_store(k, p + r, pitch, i), x[r]);
            }
        }
    }
}

/* Lanes of one packed vector that come from 16 consecutive floats. */
typedef struct piece {
    __m256i index, lanes;
    int32_t start;
    bool whole; /* all 8 lanes, consecutive */
} piece;

/* Covers the lanes of offsets[0..8) by pieces; returns their number. */
static int cut_into_pieces(const int32_t *offsets, piece pieces[LANES])
{
    int count = 0;
    for (int lane = 0; lane < LANES; ++count) {
        piece *it = &pieces[count];
        int32_t index[LANES] = {0}, lanes[LANES] = {0};
        it->start = offsets[lane];
        it->whole = lane == 0;
        for (; lane < LANES && offsets[lane] - it->start < 2 * LANES; ++lane) {
            index[lane] = offsets[lane] - it->start;
            lanes[lane] = -1;
            it->whole = it->whole && index[lane] == lane;
        }
        it->whole = it->whole && lane == LANES;
        it->index = _mm256_loadu_si256((const __m256i *)index);
        it->lanes = _mm256_loadu_si256((const __m256i *)lanes);
    }
    return count;
}

static inline __m256 gather_pieces(const float *from, const piece *pieces, int count)
{
    __m256 x = _mm256_setzero_ps();
    for (int i = 0; i < count; ++i) {
        const float *start = from + pieces[i].start;
        const __m256i index = pieces[i].index;
        const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(start), index);
        const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(start + LANES), index);
        const __m256i upper = _mm256_cmpgt_epi32(index, _mm256_set1_epi32(LANES - 1));
        const __m256 picked = _mm256_blendv_ps(low, high, _mm256_castsi256_ps(upper));
        x = _mm256_blendv_ps(x, picked, _mm256_castsi256_ps(pieces[i].lanes));
    }
    return x;
}

static void pack_vector(const dn_pack_window *w, const int32_t *offsets, ptrdiff_t pitch,
                        float *out)
{
    piece pieces[LANES];
    const int count = cut_into_pieces(offsets, pieces);
    for (int32_t i = 0; i < w->counts[0]; ++i) {
        for (int32_t j = 0; j < w->counts[1]; ++j) {
            const float *from = w->window + i * w->strides[0] + j * w->strides[1];
            for (int32_t k = 0; k < w->counts[2]; ++k, from += w->strides[2], out += pitch) {
                const __m256 x = pieces[0].whole ? _mm256_loadu_ps(from + pieces[0].start)
                                                 : gather_pieces(from, pieces, count);
                _mm256_storeu_ps(out, x);
            }
        }
    }
}

static void pack_window(const dn_pack_window *window, float *out)
{
    const ptrdiff_t pitch = (window->columns + LANES - 1) / LANES * LANES;
    for (ptrdiff_t j = 0; j < pitch; j += LANES) {
        pack_vector(window, window->offsets + j, pitch, out + j);
    }
}

const dn_gemm_kernel dn_gemm_kernel_avx2 = {
    .rows = ROWS,
    .columns = VECTORS * LANES,
    .lanes = LANES,
    .window_rows = ROWS,
    .tile = tile_any,
    .window_tile = window_any,
    .pack_copy = pack_copy,
    .pack_transpose = pack_transpose,
    .pack_window = pack_window,
};
