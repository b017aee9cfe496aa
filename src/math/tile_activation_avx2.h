/* The activations that a kernel applies before it stores a vector, for AVX2; lane masks, and stores
 * of a vector's first lanes. */
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

/* Stores the first `count` lanes, at most all 8. Masked stores take tens of cycles on AMD's
 * processors before Zen 4, and the edge of an array is all that needs one. */
static inline void dn_store_lanes_avx2(float *to, int32_t count, __m256 x)
{
    if (count >= 8) {
        _mm256_storeu_ps(to, x);
        return;
    }
    __m128 rest = _mm256_castps256_ps128(x);
    if (count & 4) {
        _mm_storeu_ps(to, rest);
        rest = _mm256_extractf128_ps(x, 1);
        to += 4;
    }
    if (count & 2) {
        _mm_storel_pi((__m64 *)(void *)to, rest);
        rest = _mm_movehl_ps(rest, rest);
        to += 2;
    }
    if (count & 1) _mm_store_ss(to, rest);
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
