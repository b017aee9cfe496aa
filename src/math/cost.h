/* The errors of [cost], one element: the value and the gradient with respect to the prediction.
 *
 * As in Darknet, the gradients of sse, masked and smooth are those of half the error: published
 * learning rates count on it.
 */
#ifndef DN_MATH_COST_H
#define DN_MATH_COST_H

#include "math/portable.h"

#define DN_COSTS(X) X(sse) X(masked) X(smooth) X(L1)

typedef enum dn_cost {
#define X(name) DN_COST_##name,
    DN_COSTS(X)
#undef X
} dn_cost;

typedef struct dn_cost_value {
    float error, grad;
} dn_cost_value;

/* What masked skips: Darknet's SECRET_NUM. */
#define DN_COST_SKIP (-1234.0f)

DN_HD dn_cost_value dn_cost_of(dn_cost kind, float prediction, float truth)
{
    const float difference = prediction - truth, size = fabsf(difference);
    const float sign = difference > 0.0f ? 1.0f : difference < 0.0f ? -1.0f : 0.0f;
    dn_cost_value value = {difference * difference, difference};
    switch (kind) {
    case DN_COST_sse:
        break;
    case DN_COST_masked:
        if (truth == DN_COST_SKIP) value.error = value.grad = 0.0f;
        break;
    case DN_COST_smooth:
        if (size < 1.0f) break;
        value.error = 2.0f * size - 1.0f;
        value.grad = sign;
        break;
    case DN_COST_L1:
        value.error = size;
        value.grad = sign;
        break;
    }
    return value;
}

#endif
