/* The sums of a depthwise strip for AVX2: four output rows of one vector at a time. */
#include "math/conv_depthwise.h"
#include "math/strided_load_avx2.h"
#include "math/tile_activation_avx2.h"

enum { ROWS = 4, LANES = 8 };

/* Output rows row..row+rows-1, columns from `column` on that are in `mask`. Inlined with constant
 * rows and stride. */
static inline __attribute__((always_inline)) void run_tile(const dn_depthwise_strip *s, int32_t row,
                                                           int rows, int32_t column, __m256i mask,
                                                           int32_t stride)
{
    __m256 sum[ROWS];
    for (int i = 0; i < rows; ++i) sum[i] = _mm256_setzero_ps();
    const float *in = s->window + row * s->stride_y * s->pitch + column * s->stride_x;
    const float *weight = s->weights;
    for (int32_t ky = 0; ky < s->size; ++ky, in += s->dilation * s->pitch) {
        for (int32_t kx = 0; kx < s->size; ++kx, ++weight) {
            const __m256 w = _mm256_set1_ps(*weight);
            const float *from = in + kx * s->dilation;
            for (int i = 0; i < rows; ++i) {
                const __m256 x =
                    dn_load_strided_avx2(from + i * s->stride_y * s->pitch, stride, mask);
                sum[i] = _mm256_fmadd_ps(w, x, sum[i]);
            }
        }
    }
    const __m256 scale = _mm256_set1_ps(s->scale), shift = _mm256_set1_ps(s->shift);
    float *out = s->out + (ptrdiff_t)row * s->columns + column;
    for (int i = 0; i < rows; ++i) {
        const __m256 y = _mm256_fmadd_ps(sum[i], scale, shift);
        __m256 z = dn_activate_avx2(y, s->activation, s->slope);
        float *to = out + (ptrdiff_t)i * s->columns;
        if (s->accumulate) z = _mm256_add_ps(z, _mm256_maskload_ps(to, mask));
        dn_store_lanes_avx2(to, s->columns - column, z);
    }
}

static inline __attribute__((always_inline)) void run_strip(const dn_depthwise_strip *s,
                                                            int32_t stride)
{
    for (int32_t column = 0; column < s->columns; column += LANES) {
        const __m256i mask = dn_first_lanes_avx2(s->columns - column);
        int32_t row = 0;
        for (; row + ROWS <= s->rows; row += ROWS) run_tile(s, row, ROWS, column, mask, stride);
        for (; row < s->rows; ++row) run_tile(s, row, 1, column, mask, stride);
    }
}

void dn_depthwise_avx2(const dn_depthwise_strip *s)
{
    if (s->stride_x == 1) {
        run_strip(s, 1);
    } else if (s->stride_x == 2) {
        run_strip(s, 2);
    } else {
        run_strip(s, s->stride_x);
    }
}
