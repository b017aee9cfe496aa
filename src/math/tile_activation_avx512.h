/* The activations that a kernel applies before it stores a vector, for AVX-512. */
#ifndef DN_MATH_TILE_ACTIVATION_AVX512_H
#define DN_MATH_TILE_ACTIVATION_AVX512_H

#include "math/gemm_kernel.h"

#include <immintrin.h>

static inline __m512 dn_activate_avx512(__m512 x, dn_tile_activation kind, float slope)
{
    const __m512 zero = _mm512_setzero_ps();
    switch (kind) {
    case DN_TILE_LINEAR:
        return x;
    case DN_TILE_LEAKY: {
        const __mmask16 low = _mm512_cmp_ps_mask(x, zero, _CMP_NGT_UQ);
        return _mm512_mask_mul_ps(x, low, x, _mm512_set1_ps(slope));
    }
    case DN_TILE_RELU:
        return _mm512_max_ps(x, zero);
    }
    return x;
}

#endif
