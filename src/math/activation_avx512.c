/* The activations with an exponential for AVX-512: see activation_vector.h. */
#include "math/activation_vector.h"

#include <immintrin.h>

enum { LANES = 16 };

static inline __m512 constant(float value)
{
    return _mm512_set1_ps(value);
}

/* NaN stays NaN: minimum and maximum return their second operand then. */
static inline __m512 exponential(__m512 x)
{
    x = _mm512_max_ps(constant(-87.0f), _mm512_min_ps(constant(87.0f), x));
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, constant(0.693359375f), x); /* ln 2 in two parts */
    r = _mm512_fnmadd_ps(n, constant(-2.12194440e-4f), r);
    static const float inverse_factorials[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6,
                                               0.5f,       1.0f,       1.0f};
    __m512 sum = constant(1.0f / 5040);
    for (int i = 0; i < 7; i++) sum = _mm512_fmadd_ps(sum, r, constant(inverse_factorials[i]));
    return _mm512_scalef_ps(sum, n);
}

static inline __m512 logistic(__m512 x)
{
    const __m512 one = constant(1.0f);
    const __m512 e = exponential(_mm512_sub_ps(_mm512_setzero_ps(), x));
    return _mm512_div_ps(one, _mm512_add_ps(one, e));
}

static inline __m512 swish(__m512 x)
{
    return _mm512_mul_ps(x, logistic(x));
}

/* n of the header, from x cut at 20, where tanh(softplus) is 1 in float32; *e = exp(x). */
static inline __m512 mish_n(__m512 x, __m512 *e)
{
    *e = exponential(_mm512_min_ps(constant(20.0f), x));
    return _mm512_mul_ps(*e, _mm512_add_ps(*e, constant(2.0f)));
}

static inline __m512 mish(__m512 x)
{
    __m512 e;
    const __m512 n = mish_n(x, &e);
    return _mm512_mul_ps(x, _mm512_div_ps(n, _mm512_add_ps(n, constant(2.0f))));
}

/* s + x s (1 - s) with s = logistic(x) */
static inline __m512 swish_gradient(__m512 x)
{
    const __m512 s = logistic(x);
    const __m512 rest = _mm512_sub_ps(constant(1.0f), s);
    return _mm512_fmadd_ps(_mm512_mul_ps(x, s), rest, s);
}

/* t + x (1 - t^2) logistic(x) with t = tanh(softplus(x)) */
static inline __m512 mish_gradient(__m512 x)
{
    __m512 e;
    const __m512 n = mish_n(x, &e), one = constant(1.0f);
    const __m512 below = _mm512_div_ps(one, _mm512_add_ps(n, constant(2.0f)));
    const __m512 t = _mm512_mul_ps(n, below);
    const __m512 rest = _mm512_mul_ps(_mm512_mul_ps(constant(4.0f), _mm512_add_ps(n, one)),
                                      _mm512_mul_ps(below, below));
    const __m512 s = _mm512_div_ps(e, _mm512_add_ps(one, e));
    return _mm512_fmadd_ps(_mm512_mul_ps(x, rest), s, t);
}

/* y = f(x), inlined with a constant f. */
static inline __attribute__((always_inline)) void map(__m512 (*f)(__m512), const float *x, float *y,
                                                      int64_t count)
{
    for (int64_t i = 0; i < count; i += LANES) {
        const __mmask16 mask = (__mmask16)(count - i >= LANES ? 0xffff : (1 << (count - i)) - 1);
        _mm512_mask_storeu_ps(y + i, mask, f(_mm512_maskz_loadu_ps(mask, x + i)));
    }
}

/* grad *= f(x), inlined with a constant f. */
static inline __attribute__((always_inline)) void scale(__m512 (*f)(__m512), const float *x,
                                                        float *grad, int64_t count)
{
    for (int64_t i = 0; i < count; i += LANES) {
        const __mmask16 mask = (__mmask16)(count - i >= LANES ? 0xffff : (1 << (count - i)) - 1);
        const __m512 g = _mm512_maskz_loadu_ps(mask, grad + i);
        _mm512_mask_storeu_ps(grad + i, mask,
                              _mm512_mul_ps(g, f(_mm512_maskz_loadu_ps(mask, x + i))));
    }
}

bool dn_activate_array_avx512(dn_activation kind, const float *x, float *y, int64_t count)
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

bool dn_activation_gradient_avx512(dn_activation kind, const float *x, float *grad, int64_t count)
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
