/* One row of a letterbox for AVX2: eight columns at a time. See letterbox_row.h.
 *
 * A pixel's three bytes come with one load of four. Values are quotients by 255, as in C, and
 * products are not contracted, so the bits are C's.
 */
#include "math/letterbox_row.h"

#include <immintrin.h>

enum { LANES = 8 };

/* Byte `channel` of eight pixels, as values times weights. */
static inline __attribute__((always_inline)) __m256 weighted(__m256i pixels, int channel,
                                                             __m256 weights)
{
    const __m256i bytes =
        _mm256_and_si256(_mm256_srli_epi32(pixels, 8 * channel), _mm256_set1_epi32(255));
    const __m256 values = _mm256_div_ps(_mm256_cvtepi32_ps(bytes), _mm256_set1_ps(255.0f));
    return _mm256_mul_ps(weights, values);
}

static inline __m256i gather(const uint8_t *line, const int32_t *offsets)
{
    const __m256i at = _mm256_loadu_si256((const __m256i *)(const void *)offsets);
    return _mm256_i32gather_epi32((const int *)(const void *)line, at, 1);
}

void dn_letterbox_row_avx2(const dn_letterbox_columns *columns, const uint8_t *line, int32_t from,
                           int32_t to, float *row, int64_t plane)
{
    for (; from + LANES <= to; from += LANES) {
        const __m256i left = gather(line, columns->left + from);
        const __m256i right = gather(line, columns->right + from);
        const __m256 wl = _mm256_loadu_ps(columns->left_weight + from);
        const __m256 wr = _mm256_loadu_ps(columns->right_weight + from);
        for (int c = 0; c < 3; c++)
            _mm256_storeu_ps(row + c * plane + from,
                             _mm256_add_ps(weighted(left, c, wl), weighted(right, c, wr)));
    }
    dn_letterbox_row(columns, line, from, to, row, plane);
}
