/* The sums of a depthwise strip for AVX-512: four output rows of one vector at a time. */
#include "math/conv_depthwise.h"
#include "math/tile_activation_avx512.h"

enum { ROWS = 4, LANES = 16 };

/* Lane j of the result is from[j * stride]; lanes outside `mask` may hold anything. */
static inline __m512 load(const float *from, int32_t stride, __mmask16 mask)
{
    if (stride == 1) return _mm512_loadu_ps(from);
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i index = _mm512_mullo_epi32(lane, _mm512_set1_epi32(stride));
    if (stride == 2) {
        return _mm512_permutex2var_ps(_mm512_loadu_ps(from), index, _mm512_loadu_ps(from + LANES));
    }
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask, index, from, sizeof(float));
}

/* Output rows row..row+rows-1, columns from `column` on that are in `mask`. Inlined with constant
 * rows and stride. */
static inline __attribute__((always_inline)) void run_tile(const dn_depthwise_strip *s, int32_t row,
                                                           int rows, int32_t column, __mmask16 mask,
                                                           int32_t stride)
{
    __m512 sum[ROWS];
    for (int i = 0; i < rows; ++i) sum[i] = _mm512_setzero_ps();
    const float *in = s->window + row * s->stride_y * s->pitch + column * s->stride_x;
    const float *weight = s->weights;
    for (int32_t ky = 0; ky < s->size; ++ky, in += s->dilation * s->pitch) {
        for (int32_t kx = 0; kx < s->size; ++kx, ++weight) {
            const __m512 w = _mm512_set1_ps(*weight);
            const float *from = in + kx * s->dilation;
            for (int i = 0; i < rows; ++i) {
                const __m512 x = load(from + i * s->stride_y * s->pitch, stride, mask);
                sum[i] = _mm512_fmadd_ps(w, x, sum[i]);
            }
        }
    }
    const __m512 scale = _mm512_set1_ps(s->scale), shift = _mm512_set1_ps(s->shift);
    float *out = s->out + (ptrdiff_t)row * s->columns + column;
    for (int i = 0; i < rows; ++i) {
        const __m512 y = _mm512_fmadd_ps(sum[i], scale, shift);
        __m512 z = dn_activate_avx512(y, s->activation, s->slope);
        float *to = out + (ptrdiff_t)i * s->columns;
        if (s->accumulate) z = _mm512_add_ps(z, _mm512_maskz_loadu_ps(mask, to));
        _mm512_mask_storeu_ps(to, mask, z);
    }
}

static inline __attribute__((always_inline)) void run_strip(const dn_depthwise_strip *s,
                                                            int32_t stride)
{
    for (int32_t column = 0; column < s->columns; column += LANES) {
        const int32_t left = s->columns - column;
        const __mmask16 mask = (__mmask16)(left >= LANES ? 0xffff : (1 << left) - 1);
        int32_t row = 0;
        for (; row + ROWS <= s->rows; row += ROWS) run_tile(s, row, ROWS, column, mask, stride);
        for (; row < s->rows; ++row) run_tile(s, row, 1, column, mask, stride);
    }
}

void dn_depthwise_avx512(const dn_depthwise_strip *s)
{
    if (s->stride_x == 1) {
        run_strip(s, 1);
    } else if (s->stride_x == 2) {
        run_strip(s, 2);
    } else {
        run_strip(s, s->stride_x);
    }
}
