/* One row of windows for AVX2. The maximum instruction gives its second operand where the operands
 * are equal or one is no number: as `value > most ? value : most`, so that the first one stays. */
#include "math/gemm_kernel.h"
#include "math/maxpool.h"
#include "math/strided_load_avx2.h"
#include "math/tile_activation_avx2.h"

enum { LANES = 8, VECTORS = 4 };

/* `vectors` vectors of columns from `column` on. Inlined with constant vectors and stride. */
static inline __attribute__((always_inline)) void
find_most(const dn_maxpool_row *row, int32_t column, int vectors, int32_t stride)
{
    const float *from = row->window + (int64_t)column * stride;
    const __m256i all = _mm256_set1_epi32(-1);
    __m256 most[VECTORS];
    for (int v = 0; v < vectors; v++)
        most[v] = dn_load_strided_avx2(from + v * LANES * stride, stride, all);
    for (int32_t y = 0; y < row->rows; y++, from += row->pitch)
        for (int32_t x = 0; x < row->size; x++)
            for (int v = 0; v < vectors; v++) {
                const float *at = from + x + v * LANES * stride;
                most[v] = _mm256_max_ps(dn_load_strided_avx2(at, stride, all), most[v]);
            }
    for (int v = 0; v < vectors; v++) {
        const int32_t left = row->columns - column - v * LANES;
        dn_store_lanes_avx2(row->most + column + v * LANES, left, most[v]);
    }
}

/* The same, but for the cells. */
static inline __attribute__((always_inline)) void
find_first(const dn_maxpool_row *row, int32_t column, int vectors, int32_t stride)
{
    const float *from = row->window + (int64_t)column * stride;
    const __m256i all = _mm256_set1_epi32(-1);
    __m256 most[VECTORS], first[VECTORS]; /* first: integers */
    for (int v = 0; v < vectors; v++) {
        most[v] = dn_load_strided_avx2(from + v * LANES * stride, stride, all);
        first[v] = _mm256_setzero_ps();
    }
    for (int32_t y = 0; y < row->rows; y++, from += row->pitch)
        for (int32_t x = 0; x < row->size; x++) {
            const __m256 cell = _mm256_castsi256_ps(_mm256_set1_epi32(y * row->size + x));
            for (int v = 0; v < vectors; v++) {
                const float *at = from + x + v * LANES * stride;
                const __m256 value = dn_load_strided_avx2(at, stride, all);
                const __m256 higher = _mm256_cmp_ps(value, most[v], _CMP_GT_OQ);
                first[v] = _mm256_blendv_ps(first[v], cell, higher);
                most[v] = _mm256_max_ps(value, most[v]);
            }
        }
    for (int v = 0; v < vectors; v++) {
        const int32_t left = row->columns - column - v * LANES;
        dn_store_lanes_avx2((float *)(void *)(row->first + column + v * LANES), left, first[v]);
    }
}

static inline __attribute__((always_inline)) void
run_row(const dn_maxpool_row *row,
        void (*run_tile)(const dn_maxpool_row *row, int32_t column, int vectors, int32_t stride),
        int32_t stride)
{
    int32_t column = 0;
    for (; column + (VECTORS - 1) * LANES < row->columns; column += VECTORS * LANES)
        run_tile(row, column, VECTORS, stride);
    for (; column + LANES < row->columns; column += 2 * LANES) run_tile(row, column, 2, stride);
    if (column < row->columns) run_tile(row, column, 1, stride);
}

void dn_maxpool_row_avx2(const dn_maxpool_row *row)
{
    if (row->first && row->stride == 1)
        run_row(row, find_first, 1);
    else if (row->first)
        run_row(row, find_first, 2);
    else if (row->stride == 1)
        run_row(row, find_most, 1);
    else
        run_row(row, find_most, 2);
}
