/* The loss of [logistic], one element. */
#ifndef DN_MATH_LOGISTIC_H
#define DN_MATH_LOGISTIC_H

#include "math/portable.h"

/* -t ln p - (1 - t) ln(1 - p) = max(x, 0) - t x + ln(1 + e^-|x|), p = logistic(x). */
DN_HD float dn_logistic_loss(float x, float truth)
{
    return fmaxf(x, 0.0f) - truth * x + log1pf(expf(-fabsf(x)));
}

#endif
