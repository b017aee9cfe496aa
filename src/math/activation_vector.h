/* The activations with an exponential, by vectors: internal to activation.c.
 *
 * exp by range reduction to [-ln 2 / 2, ln 2 / 2] and a Taylor polynomial of degree 7 (error below
 * 2 units in the last place); arguments beyond +-87 are clamped, so results that C's expf would
 * round to 0 or infinity come out as about 1e-38 or 1e38. With e = exp(x) and n = e (e + 2):
 * tanh(softplus(x)) = n / (n + 2), and 1 - its square = 4 (n + 1) / (n + 2)^2.
 */
#ifndef DN_MATH_ACTIVATION_VECTOR_H
#define DN_MATH_ACTIVATION_VECTOR_H

#include "math/activation.h"

/* logistic, swish and mish; false, and nothing is done, for any other kind. */
bool dn_activate_array_avx2(dn_activation kind, const float *x, float *y, int64_t count);
bool dn_activate_array_avx512(dn_activation kind, const float *x, float *y, int64_t count);

/* grad *= f'(x) for swish and mish; false for any other kind. */
bool dn_activation_gradient_avx2(dn_activation kind, const float *x, float *grad, int64_t count);
bool dn_activation_gradient_avx512(dn_activation kind, const float *x, float *grad, int64_t count);

#endif
