/* Activations: y = f(x) and dy/dx, one element; the same bodies run on the CPU and in CUDA.
 *
 * The list below is the only one: enum, names and dispatch come from it. Definitions: Darknet's
 * (leaky slope .1); mish: Misra 2019; swish: Ramachandran et al. 2017; gelu: the tanh form of
 * Hendrycks and Gimpel 2016. Derivatives take x, the value before, and y, the value after; which
 * of them must still be there is dn_activation_needs_input.
 */
#ifndef DN_MATH_ACTIVATION_H
#define DN_MATH_ACTIVATION_H

#include "math/portable.h"

#define DN_ACTIVATIONS(X)                                                                          \
    X(linear)                                                                                      \
    X(leaky)                                                                                       \
    X(logistic)                                                                                    \
    X(relu)                                                                                        \
    X(relu6)                                                                                       \
    X(mish)                                                                                        \
    X(swish)                                                                                       \
    X(hard_mish)                                                                                   \
    X(tanh)                                                                                        \
    X(elu)                                                                                         \
    X(selu)                                                                                        \
    X(gelu)

typedef enum dn_activation {
#define X(name) DN_ACTIVATION_##name,
    DN_ACTIVATIONS(X)
#undef X
} dn_activation;

DN_HD float dn_logistic(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

DN_HD float dn_softplus(float x)
{
    return x > 20.0f ? x : log1pf(expf(x));
}

DN_HD float dn_gelu_inner(float x)
{
    return 0.7978845608f * (x + 0.044715f * x * x * x);
}

DN_HD float dn_activate(dn_activation kind, float x)
{
    switch (kind) {
    case DN_ACTIVATION_linear:
        return x;
    case DN_ACTIVATION_leaky:
        return x > 0.0f ? x : 0.1f * x;
    case DN_ACTIVATION_logistic:
        return dn_logistic(x);
    case DN_ACTIVATION_relu:
        return x > 0.0f ? x : 0.0f;
    case DN_ACTIVATION_relu6:
        return fminf(fmaxf(x, 0.0f), 6.0f);
    case DN_ACTIVATION_mish:
        return x * tanhf(dn_softplus(x));
    case DN_ACTIVATION_swish:
        return x * dn_logistic(x);
    case DN_ACTIVATION_hard_mish:
        return x > 0.0f ? x : x > -2.0f ? x * (0.5f * x + 1.0f) : 0.0f;
    case DN_ACTIVATION_tanh:
        return tanhf(x);
    case DN_ACTIVATION_elu:
        return x >= 0.0f ? x : expm1f(x);
    case DN_ACTIVATION_selu:
        return 1.0507f * (x >= 0.0f ? x : 1.6732f * expm1f(x));
    case DN_ACTIVATION_gelu:
        return 0.5f * x * (1.0f + tanhf(dn_gelu_inner(x)));
    }
    return x;
}

DN_HD bool dn_activation_needs_input(dn_activation kind)
{
    return kind == DN_ACTIVATION_mish || kind == DN_ACTIVATION_swish ||
           kind == DN_ACTIVATION_hard_mish || kind == DN_ACTIVATION_gelu;
}

DN_HD float dn_activation_gradient(dn_activation kind, float x, float y)
{
    switch (kind) {
    case DN_ACTIVATION_linear:
        return 1.0f;
    case DN_ACTIVATION_leaky:
        return y > 0.0f ? 1.0f : 0.1f;
    case DN_ACTIVATION_logistic:
        return y * (1.0f - y);
    case DN_ACTIVATION_relu:
        return y > 0.0f ? 1.0f : 0.0f;
    case DN_ACTIVATION_relu6:
        return y > 0.0f && y < 6.0f ? 1.0f : 0.0f;
    case DN_ACTIVATION_mish: {
        const float t = tanhf(dn_softplus(x));
        return t + x * (1.0f - t * t) * dn_logistic(x);
    }
    case DN_ACTIVATION_swish: {
        const float s = dn_logistic(x);
        return s + x * s * (1.0f - s);
    }
    case DN_ACTIVATION_hard_mish:
        return x > 0.0f ? 1.0f : x > -2.0f ? x + 1.0f : 0.0f;
    case DN_ACTIVATION_tanh:
        return 1.0f - y * y;
    case DN_ACTIVATION_elu:
        return y >= 0.0f ? 1.0f : y + 1.0f;
    case DN_ACTIVATION_selu:
        return y >= 0.0f ? 1.0507f : y + 1.0507f * 1.6732f;
    case DN_ACTIVATION_gelu: {
        const float t = tanhf(dn_gelu_inner(x));
        const float inner = 0.7978845608f * (1.0f + 3.0f * 0.044715f * x * x);
        return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner;
    }
    }
    return 1.0f;
}

#ifdef __cplusplus
extern "C" {
#endif

/* The names in the enum's order, NULL at the end: choices of an option table. */
extern const char *const dn_activation_names[];

#ifdef __cplusplus
}
#endif

#ifndef __CUDACC__

/* y = f(x) for `count` values; x and y may be the same array. */
void dn_activate_array(dn_activation kind, const float *x, float *y, int64_t count);

/* grad *= f'(x, y). x may be NULL where dn_activation_needs_input is false. */
void dn_activation_gradient_array(dn_activation kind, const float *x, const float *y, float *grad,
                                  int64_t count);

#endif
#endif
