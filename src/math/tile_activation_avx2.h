/* The activations that a kernel applies before it stores a vector, for AVX2; and lane masks. */
#ifndef DN_MATH_TILE_ACTIVATION_AVX2_H
#define DN_MATH_TILE_ACTIVATION_AVX2_H

#include "math/gemm_kernel.h"

#include <immintrin.h>

/* All ones in the first `count` lanes. */
static inline __m256i dn_first_lanes_avx2(int32_t count)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane);
}

static inline __m256 dn_activate_avx2(__m256 x, dn_tile_activation kind, float slope)
{
    const __m256 zero = _mm256_setzero_ps();
    switch (kind) {
    case DN_TILE_LINEAR:
        return x;
    case DN_TILE_LEAKY: {
        const __m256 high = _mm256_cmp_ps(x, zero, _CMP_GT_OQ);
        return _mm256_blendv_ps(_mm256_mul_ps(x, _mm256_set1_ps(slope)), x, high);
    }
    case DN_TILE_RELU:
        return _mm256_max_ps(x, zero);
    }
    return x;
}

#endif
