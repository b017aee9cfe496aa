/* Register tiles and packing for AVX-512: up to 14 x 32, float32.
 *
 * 28 accumulators, two vectors of B and one broadcast value of A fill the 32 registers. A tile with
 * fewer rows or columns has a function of its own, so the edges of a matrix cost no more than
 * their share; the last vector of a row is stored under a mask.
 */
#include "math/gemm_kernel.h"

#include "math/tile_activation_avx512.h"

#include <string.h>

enum { ROWS = 14, LANES = 16, VECTORS = 2 };
enum { WINDOW_ROWS = 8 }; /* a pointer each */
enum { AHEAD = 32 }; /* steps of k from the request of A's values to their use: memory's latency */

static inline __m512 finish(const dn_gemm_tile *tile, int row, __m512 x)
{
    const __m512 shift = _mm512_set1_ps(tile->shift ? tile->shift[row] : 0.0f);
    const __m512 scale = _mm512_set1_ps(tile->scale ? tile->scale[row] : 1.0f);
    return dn_activate_avx512(_mm512_fmadd_ps(x, scale, shift), tile->activation, tile->slope);
}

/* alpha * sum + beta * c, then the epilogue, for one row. */
static inline void store_row(const dn_gemm_tile *tile, int row, const __m512 *sum, int vectors,
                             __mmask16 last)
{
    float *c = tile->c + row * tile->ldc;
    for (int v = 0; v < vectors; ++v) {
        const __mmask16 mask = v == vectors - 1 ? last : (__mmask16)0xffff;
        __m512 x = _mm512_mul_ps(sum[v], _mm512_set1_ps(tile->alpha));
        if (tile->beta != 0.0f) {
            const __m512 old = _mm512_maskz_loadu_ps(mask, c + v * LANES);
            x = _mm512_fmadd_ps(old, _mm512_set1_ps(tile->beta), x);
        }
        if (tile->finish) x = finish(tile, row, x);
        _mm512_mask_storeu_ps(c + v * LANES, mask, x);
    }
}

/* Inlined with constant rows and vectors: the sums live in registers, every loop is unrolled. */
static inline __attribute__((always_inline)) void run_tile(const dn_gemm_tile *tile, int rows,
                                                           int vectors)
{
    __m512 sum[ROWS][VECTORS];
    for (int i = 0; i < rows; ++i) {
        for (int v = 0; v < vectors; ++v) sum[i][v] = _mm512_setzero_ps();
        const float *c = tile->c + i * tile->ldc;
        for (int v = 0; v < vectors; ++v) _mm_prefetch((const char *)(c + v * LANES), _MM_HINT_T0);
        _mm_prefetch((const char *)(c + tile->columns - 1), _MM_HINT_T0);
    }
    const float *a = tile->a, *b = tile->b, *ahead = tile->ahead;
    for (int32_t p = 0; p < tile->k; ++p) {
        __m512 right[VECTORS];
        for (int v = 0; v < vectors; ++v) right[v] = _mm512_loadu_ps(b + v * LANES);
        for (int i = 0; i < rows; ++i) {
            const __m512 left = _mm512_set1_ps(a[i]);
            for (int v = 0; v < vectors; ++v) {
                sum[i][v] = _mm512_fmadd_ps(left, right[v], sum[i][v]);
            }
        }
        _mm_prefetch((const char *)(a + AHEAD * rows), _MM_HINT_T0);
        _mm_prefetch((const char *)ahead, _MM_HINT_T1);
        ahead += tile->ahead_step;
        a += rows;
        b += vectors * LANES;
    }
    const int surplus = vectors * LANES - tile->columns;
    for (int i = 0; i < rows; ++i) {
        store_row(tile, i, sum[i], vectors, (__mmask16)(0xffff >> surplus));
    }
}

#define DN_ALL_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)

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
    __m512 sum[WINDOW_ROWS][VECTORS];
    const float *from[WINDOW_ROWS], *b = tile->b;
    for (int i = 0; i < rows; ++i) {
        for (int v = 0; v < vectors; ++v) sum[i][v] = _mm512_setzero_ps();
        from[i] = tile->window + tile->offsets[i];
    }
    const ptrdiff_t step = tile->strides[1];
    for (int32_t y = 0; y < tile->counts[0]; ++y) {
        ptrdiff_t at = 0;
        for (int32_t x = 0; x < tile->counts[1]; ++x, at += step, b += vectors * LANES) {
            __m512 right[VECTORS];
            for (int v = 0; v < vectors; ++v) right[v] = _mm512_loadu_ps(b + v * LANES);
            for (int i = 0; i < rows; ++i) {
                const __m512 left = _mm512_set1_ps(from[i][at]);
                for (int v = 0; v < vectors; ++v) {
                    sum[i][v] = _mm512_fmadd_ps(left, right[v], sum[i][v]);
                }
            }
        }
        for (int i = 0; i < rows; ++i) from[i] += tile->strides[0];
    }
    for (int i = 0; i < rows; ++i) {
        for (int v = 0; v < vectors; ++v) {
            float *c = tile->c + (i * vectors + v) * LANES;
            const __m512 old = tile->add ? _mm512_loadu_ps(c) : _mm512_setzero_ps();
            _mm512_storeu_ps(c, _mm512_add_ps(old, sum[i][v]));
        }
    }
}

#define DN_WINDOW_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)

#define DN_WINDOW_FUNCTIONS(rows)                                                                  \
    static void window_##rows##x1(const dn_window_tile *tile)                                      \
    {                                                                                              \
        run_window_tile(tile, rows, 1);                                                            \
    }                                                                                              \
    static void window_##rows##x2(const dn_window_tile *tile)                                      \
    {                                                                                              \
        run_window_tile(tile, rows, 2);                                                            \
    }
DN_WINDOW_ROWS(DN_WINDOW_FUNCTIONS)

static void window_any(const dn_window_tile *tile)
{
#define DN_WINDOW_ENTRY(rows) {window_##rows##x1, window_##rows##x2},
    static void (*const functions[WINDOW_ROWS][VECTORS])(const dn_window_tile *) = {
        DN_WINDOW_ROWS(DN_WINDOW_ENTRY)};
    functions[tile->rows - 1][tile->pitch / LANES - 1](tile);
}

static inline __mmask16 first_lanes(int32_t count)
{
    return (__mmask16)(count >= LANES ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
}

/* Rows lie far apart, where no hardware prefetcher follows: while one panel is packed, the lines
 * of its right neighbour are asked for. */
static inline void prefetch_next(const float *in)
{
    _mm_prefetch((const char *)(in + VECTORS * LANES), _MM_HINT_T0);
    _mm_prefetch((const char *)(in + VECTORS * LANES + LANES), _MM_HINT_T0);
}

static void pack_copy(const float *in, ptrdiff_t ld, int32_t k, int32_t width, int32_t pitch,
                      float *out)
{
    const __mmask16 read[VECTORS] = {first_lanes(width), first_lanes(width - LANES)};
    const __mmask16 write[VECTORS] = {first_lanes(pitch), first_lanes(pitch - LANES)};
    for (int32_t p = 0; p < k; ++p, in += ld, out += pitch) {
        prefetch_next(in);
        for (int v = 0; v < VECTORS; ++v) {
            const __m512 x = _mm512_maskz_loadu_ps(read[v], in + v * LANES);
            _mm512_mask_storeu_ps(out + v * LANES, write[v], x);
        }
    }
}

/* Transposes the 16 x 16 block in place: pairs of floats, pairs of pairs, then quarters. */
static inline void transpose_block(__m512 *x)
{
    __m512 t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        for (int half = 0; half < 2; ++half) {
            const __m512d low = _mm512_castps_pd(t[i + half]);
            const __m512d high = _mm512_castps_pd(t[i + half + 2]);
            x[i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            x[i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    }
    for (int i = 0; i < 4; ++i) {
        const __m512 even01 = _mm512_shuffle_f32x4(x[i], x[i + 4], 0x88);
        const __m512 even23 = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0x88);
        const __m512 odd01 = _mm512_shuffle_f32x4(x[i], x[i + 4], 0xdd);
        const __m512 odd23 = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0xdd);
        t[i] = _mm512_shuffle_f32x4(even01, even23, 0x88);
        t[i + 8] = _mm512_shuffle_f32x4(even01, even23, 0xdd);
        t[i + 4] = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(odd01, odd23, 0xdd);
    }
    memcpy(x, t, sizeof t);
}

static void pack_transpose(const float *in, ptrdiff_t ld, int32_t k, int32_t width, int32_t pitch,
                           float *out)
{
    for (int32_t i = 0; i < pitch; i += LANES) {
        const __mmask16 write = first_lanes(pitch - i);
        const int32_t rows = width - i < LANES ? width - i : LANES;
        for (int32_t p = 0; p < k; p += LANES) {
            const __mmask16 read = first_lanes(k - p);
            __m512 x[LANES];
            for (int r = 0; r < LANES; ++r) {
                x[r] = r < rows ? _mm512_maskz_loadu_ps(read, in + (i + r) * ld + p)
                                : _mm512_setzero_ps();
            }
            transpose_block(x);
            const int32_t steps = k - p < LANES ? k - p : LANES;
            float *to = out + (ptrdiff_t)p * pitch + i;
            for (int32_t r = 0; r < steps; ++r) _mm512_mask_storeu_ps(to + r * pitch, write, x[r]);
        }
    }
}

/* Lanes of one packed vector that come from 32 consecutive floats. */
typedef struct piece {
    __m512i index;
    int32_t start;
    __mmask16 lanes;
    bool whole; /* all 16 lanes, consecutive */
} piece;

/* Covers the lanes of offsets[0..16) by pieces; returns their number. */
static int cut_into_pieces(const int32_t *offsets, piece pieces[LANES])
{
    int count = 0;
    for (int lane = 0; lane < LANES; ++count) {
        piece *it = &pieces[count];
        int32_t index[LANES] = {0};
        it->start = offsets[lane];
        it->lanes = 0;
        it->whole = lane == 0;
        for (; lane < LANES && offsets[lane] - it->start < 2 * LANES; ++lane) {
            index[lane] = offsets[lane] - it->start;
            it->lanes = (__mmask16)(it->lanes | (1 << lane));
            it->whole = it->whole && index[lane] == lane;
        }
        it->whole = it->whole && lane == LANES;
        it->index = _mm512_loadu_si512(index);
    }
    return count;
}

static inline __m512 gather_pieces(const float *from, const piece *pieces, int count)
{
    __m512 x = _mm512_setzero_ps();
    for (int i = 0; i < count; ++i) {
        const float *start = from + pieces[i].start;
        const __m512 low = _mm512_loadu_ps(start), high = _mm512_loadu_ps(start + LANES);
        const __m512 picked = _mm512_permutex2var_ps(low, pieces[i].index, high);
        x = _mm512_mask_mov_ps(x, pieces[i].lanes, picked);
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
                const __m512 x = pieces[0].whole ? _mm512_loadu_ps(from + pieces[0].start)
                                                 : gather_pieces(from, pieces, count);
                _mm512_storeu_ps(out, x);
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

const dn_gemm_kernel dn_gemm_kernel_avx512 = {
    .rows = ROWS,
    .columns = VECTORS * LANES,
    .lanes = LANES,
    .window_rows = WINDOW_ROWS,
    .tile = tile_any,
    .window_tile = window_any,
    .pack_copy = pack_copy,
    .pack_transpose = pack_transpose,
    .pack_window = pack_window,
};
