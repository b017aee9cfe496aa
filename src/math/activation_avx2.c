/* The activations with an exponential for AVX2: see activation_vector.h. */
#include "math/activation_vector.h"
#include "math/tile_activation_avx2.h"

enum { LANES = 8 };

static inline __m256 constant(float value)
{
    return _mm256_set1_ps(value);
}

/* NaN stays NaN: minimum and maximum return their second operand then. */
static inline __m256 exponential(__m256 x)
{
    x = _mm256_max_ps(constant(-87.0f), _mm256_min_ps(constant(87.0f), x));
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, constant(0.693359375f), x); /* ln 2 in two parts */
    r = _mm256_fnmadd_ps(n, constant(-2.12194440e-4f), r);
    static const float inverse_factorials[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6,
                                               0.5f,       1.0f,       1.0f};
    __m256 sum = constant(1.0f / 5040);
    for (int i = 0; i < 7; i++) sum = _mm256_fmadd_ps(sum, r, constant(inverse_factorials[i]));
    const __m256i bits = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(sum), bits));
}

static inline __m256 logistic(__m256 x)
{
    const __m256 one = constant(1.0f);
    const __m256 e = exponential(_mm256_sub_ps(_mm256_setzero_ps(), x));
    return _mm256_div_ps(one, _mm256_add_ps(one, e));
}

static inline __m256 swish(__m256 x)
{
    return _mm256_mul_ps(x, logistic(x));
}

/* n of the header, from x cut at 20, where tanh(softplus) is 1 in float32; *e = exp(x). */
static inline __m256 mish_n(__m256 x, __m256 *e)
{
    *e = exponential(_mm256_min_ps(constant(20.0f), x));
    return _mm256_mul_ps(*e, _mm256_add_ps(*e, constant(2.0f)));
}

static inline __m256 mish(__m256 x)
{
    __m256 e;
    const __m256 n = mish_n(x, &e);
    return _mm256_mul_ps(x, _mm256_div_ps(n, _mm256_add_ps(n, constant(2.0f))));
}

/* s + x s (1 - s) with s = logistic(x) */
static inline __m256 swish_gradient(__m256 x)
{
    const __m256 s = logistic(x);
    const __m256 rest = _mm256_sub_ps(constant(1.0f), s);
    return _mm256_fmadd_ps(_mm256_mul_ps(x, s), rest, s);
}

/* t + x (1 - t^2) logistic(x) with t = tanh(softplus(x)) */
static inline __m256 mish_gradient(__m256 x)
{
    __m256 e;
    const __m256 n = mish_n(x, &e), one = constant(1.0f);
    const __m256 below = _mm256_div_ps(one, _mm256_add_ps(n, constant(2.0f)));
    const __m256 t = _mm256_mul_ps(n, below);
    const __m256 rest = _mm256_mul_ps(_mm256_mul_ps(constant(4.0f), _mm256_add_ps(n, one)),
                                      _mm256_mul_ps(below, below));
    const __m256 s = _mm256_div_ps(e, _mm256_add_ps(one, e));
    return _mm256_fmadd_ps(_mm256_mul_ps(x, rest), s, t);
}

/* y = f(x), inlined with a constant f. */
static inline __attribute__((always_inline)) void map(__m256 (*f)(__m256), const float *x, float *y,
                                                      int64_t count)
{
    for (int64_t i = 0; i < count; i += LANES) {
        const int32_t lanes = count - i >= LANES ? LANES : (int32_t)(count - i);
        const __m256i mask = dn_first_lanes_avx2(lanes);
        dn_store_lanes_avx2(y + i, lanes, f(_mm256_maskload_ps(x + i, mask)));
    }
}

/* grad *= f(x), inlined with a constant f. */
static inline __attribute__((always_inline)) void scale(__m256 (*f)(__m256), const float *x,
                                                        float *grad, int64_t count)
{
    for (int64_t i = 0; i < count; i += LANES) {
        const int32_t lanes = count - i >= LANES ? LANES : (int32_t)(count - i);
        const __m256i mask = dn_first_lanes_avx2(lanes);
        const __m256 g = _mm256_maskload_ps(grad + i, mask);
        const __m256 slope = f(_mm256_maskload_ps(x + i, mask));
        dn_store_lanes_avx2(grad + i, lanes, _mm256_mul_ps(g, slope));
    }
}

bool dn_activate_array_avx2(dn_activation kind, const float *x, float *y, int64_t count)
{
    if (kind == DN_ACTIVATION_logistic) {
        map(logistic, x, y, count);
    } else if (kind == DN_ACTIVATION_swish) {
        map(swish, x, y, count);
    } else if (kind == DN_ACTIVATION_mish) {
        map(mish, x, y, count);
    } else {
        return false;
    }
    return true;
}

bool dn_activation_gradient_avx2(dn_activation kind, const float *x, float *grad, int64_t count)
{
    if (kind == DN_ACTIVATION_swish) {
        scale(swish_gradient, x, grad, count);
    } else if (kind == DN_ACTIVATION_mish) {
        scale(mish_gradient, x, grad, count);
    } else {
        return false;
    }
    return true;
}
