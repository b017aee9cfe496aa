/* What tensor cores do with float32 factors, as plain arithmetic: rounded to the nearest, ties to
 * even, to 11 significant bits; in half precision with its range besides. */
#ifndef DN_TESTS_HOST_CUDA_ROUNDING_H
#define DN_TESTS_HOST_CUDA_ROUNDING_H

#include <cmath>

enum dn_host_rounding { DN_HOST_FULL, DN_HOST_TF32, DN_HOST_HALF };

static inline double dn_host_rounded(float value, dn_host_rounding rounding)
{
    int exponent = 0;
    const double x = (double)value;
    if (rounding == DN_HOST_FULL || !std::isfinite(value) || value == 0.0f) return x;
    std::frexp(x, &exponent);
    exponent -= 11;
    if (rounding == DN_HOST_HALF && exponent < -24) exponent = -24; /* subnormal */
    const double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -exponent)), exponent);
    const bool over = rounding == DN_HOST_HALF && std::fabs(rounded) > 65504.0;
    return over ? std::copysign(HUGE_VAL, x) : rounded;
}

#endif
