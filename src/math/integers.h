/* Small integer helpers of the kernels' planning. */
#ifndef DN_MATH_INTEGERS_H
#define DN_MATH_INTEGERS_H

#include <stdint.h>

/* ceil(a / b) for a >= 0, b > 0. */
static inline int32_t dn_divide_up(int32_t a, int32_t b)
{
    return a / b + (a % b != 0);
}

static inline int32_t dn_least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static inline int32_t dn_most(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

#endif
