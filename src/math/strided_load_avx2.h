/* Every stride-th float of an array as a vector, for AVX2. Included by *_avx2.c only. */
#ifndef DN_MATH_STRIDED_LOAD_AVX2_H
#define DN_MATH_STRIDED_LOAD_AVX2_H

#include <immintrin.h>
#include <stdint.h>

/* Lane j of the result is from[j * stride]; lanes outside `mask` may hold anything. Reads up to
 * 16 floats where stride is 1 or 2. */
static inline __m256 dn_load_strided_avx2(const float *from, int32_t stride, __m256i mask)
{
    enum { LANES = 8 };
    if (stride == 1) return _mm256_loadu_ps(from);
    if (stride == 2) {
        const __m256 even =
            _mm256_shuffle_ps(_mm256_loadu_ps(from), _mm256_loadu_ps(from + LANES), 0x88);
        return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(even), 0xd8));
    }
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i index = _mm256_mullo_epi32(lane, _mm256_set1_epi32(stride));
    return _mm256_mask_i32gather_ps(_mm256_setzero_ps(), from, index, _mm256_castsi256_ps(mask),
                                    sizeof(float));
}

#endif
