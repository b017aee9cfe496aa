/* What follows the sums of a convolution: out = f2(f1(sum + shift) + add), by vectors.
 *
 * linear, leaky, relu, logistic, swish and mish have vector forms, the others go lane by lane
 * through dn_activate. exp by range reduction to [-ln 2 / 2, ln 2 / 2] and a Taylor polynomial of
 * degree 7, arguments clamped to +-87, as in math/activation_vector.h; mish by the same identity:
 * with e = exp(x) and n = e (e + 2), tanh(softplus(x)) = n / (n + 2).
 */
#ifndef DN_BLOCKED_EPILOGUE_H
#define DN_BLOCKED_EPILOGUE_H

#include "blocked/conv_form.h"
#include "blocked/vector.h"

/* The addition of 1.5 * 2^23 rounds to a whole number, which then stands in the lowest bits. */
DN_INLINE dn_vec dn_vec_exp(dn_vec x)
{
    const dn_vec magic = dn_vec_set(12582912.0f);
    x = dn_vec_max(dn_vec_set(-87.0f), dn_vec_min(dn_vec_set(87.0f), x));
    const dn_vec rounded = dn_fma(x, dn_vec_set(1.44269504f), magic);
    const dn_vec n = rounded - magic;
    dn_vec r = dn_fma(n, dn_vec_set(-0.693359375f), x); /* ln 2 in two parts */
    r = dn_fma(n, dn_vec_set(2.12194440e-4f), r);
    dn_vec sum = dn_vec_set(1.0f / 5040);
    sum = dn_fma(sum, r, dn_vec_set(1.0f / 720));
    sum = dn_fma(sum, r, dn_vec_set(1.0f / 120));
    sum = dn_fma(sum, r, dn_vec_set(1.0f / 24));
    sum = dn_fma(sum, r, dn_vec_set(1.0f / 6));
    sum = dn_fma(sum, r, dn_vec_set(0.5f));
    sum = dn_fma(sum, r, dn_vec_set(1.0f));
    sum = dn_fma(sum, r, dn_vec_set(1.0f));
    return (dn_vec)((dn_vec_bits)sum + ((dn_vec_bits)rounded << 23));
}

DN_INLINE dn_vec dn_vec_logistic(dn_vec x)
{
    const dn_vec one = dn_vec_set(1.0f);
    return one / (one + dn_vec_exp(dn_vec_set(0.0f) - x));
}

/* x is cut at 20, where tanh(softplus) is 1 in float32. */
DN_INLINE dn_vec dn_vec_mish(dn_vec x)
{
    const dn_vec two = dn_vec_set(2.0f);
    const dn_vec e = dn_vec_exp(dn_vec_min(dn_vec_set(20.0f), x));
    const dn_vec n = e * (e + two);
    return x * (n / (n + two));
}

DN_INLINE dn_vec dn_vec_activate_lanes(dn_activation kind, dn_vec x)
{
    float lanes[DN_LANES];
    dn_vec_store(lanes, x);
    for (int i = 0; i < DN_LANES; ++i) lanes[i] = dn_activate(kind, lanes[i]);
    return dn_vec_load(lanes);
}

DN_INLINE dn_vec dn_vec_activate(dn_activation kind, dn_vec x)
{
    switch (kind) {
    case DN_ACTIVATION_linear:
        return x;
    case DN_ACTIVATION_leaky:
        return dn_vec_max(x, dn_vec_set(0.1f) * x);
    case DN_ACTIVATION_relu:
        return dn_vec_max(x, dn_vec_set(0.0f));
    case DN_ACTIVATION_logistic:
        return dn_vec_logistic(x);
    case DN_ACTIVATION_swish:
        return x * dn_vec_logistic(x);
    case DN_ACTIVATION_mish:
        return dn_vec_mish(x);
    default:
        return dn_vec_activate_lanes(kind, x);
    }
}

/* leaky, linear and relu are max(x, slope * x): what a kernel can do before it stores its sums,
 * whichever of them it is. False for the others. */
DN_INLINE bool dn_activation_slope(dn_activation kind, float *slope)
{
    *slope = kind == DN_ACTIVATION_linear ? 1.0f : kind == DN_ACTIVATION_leaky ? 0.1f : 0.0f;
    return kind == DN_ACTIVATION_linear || kind == DN_ACTIVATION_leaky ||
           kind == DN_ACTIVATION_relu;
}

/* Of one vector of sums; add: NULL where nothing is added. The switches are the same at every call
 * of a convolution, so they cost next to nothing. */
DN_INLINE dn_vec dn_epilogue(dn_vec sum, dn_vec shift, dn_activation activation, const float *add,
                             dn_activation after_add)
{
    const dn_vec x = dn_vec_activate(activation, sum + shift);
    return add ? dn_vec_activate(after_add, x + dn_vec_load(add)) : x;
}

DN_INLINE void dn_epilogue_row_by(dn_activation f1, dn_activation f2, const float *sums,
                                  int64_t count, dn_vec shift, const float *add, float *out)
{
    if (!add) {
        for (int64_t i = 0; i < count * DN_LANES; i += DN_LANES)
            dn_vec_store(out + i, dn_vec_activate(f1, dn_vec_load(sums + i) + shift));
    } else {
        for (int64_t i = 0; i < count * DN_LANES; i += DN_LANES)
            dn_vec_store(out + i, dn_epilogue(dn_vec_load(sums + i), shift, f1, add + i, f2));
    }
}

/* The epilogue of `count` pixels of one channel block: sums, add (NULL: none) and out (count,
 * lanes); shift (lanes). sums or add may be `out` itself. */
static inline void dn_epilogue_row(const dn_conv_problem *problem, const float *sums, int64_t count,
                                   const float *shift, const float *add, float *out)
{
    const dn_activation f1 = problem->activation, f2 = problem->after_add;
    const dn_vec s = dn_vec_load(shift);
#define BY(kind)                                                                                   \
    case DN_ACTIVATION_##kind:                                                                     \
        dn_epilogue_row_by(DN_ACTIVATION_##kind, f2, sums, count, s, add, out);                    \
        break
    switch (f1) {
        BY(linear);
        BY(leaky);
        BY(relu);
        BY(logistic);
        BY(swish);
        BY(mish);
    default:
        dn_epilogue_row_by(f1, f2, sums, count, s, add, out);
    }
#undef BY
}

#endif
