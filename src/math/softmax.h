/* Softmax of one vector whose values lie `step` apart, and its gradient. */
#ifndef DN_MATH_SOFTMAX_H
#define DN_MATH_SOFTMAX_H

#include "math/portable.h"

#include <float.h>

typedef struct dn_softmax_geometry {
    int32_t count;     /* values of a vector */
    int64_t step;      /* between them */
    int64_t vectors;   /* of an image */
    float temperature; /* above 0 */
} dn_softmax_geometry;

/* Where vector `v` of an image begins. */
DN_HD int64_t dn_softmax_start(const dn_softmax_geometry *g, int64_t v)
{
    return v / g->step * g->step * g->count + v % g->step;
}

/* y = e^(x / T) / sum e^(x / T), the maximum subtracted first. */
DN_HD void dn_softmax(const dn_softmax_geometry *g, const float *x, float *y)
{
    float most = x[0], sum = 0.0f;
    for (int64_t i = 1; i < g->count; i++) most = fmaxf(most, x[i * g->step]);
    for (int64_t i = 0; i < g->count; i++) {
        const float e = expf((x[i * g->step] - most) / g->temperature);
        y[i * g->step] = e;
        sum += e;
    }
    for (int64_t i = 0; i < g->count; i++) y[i * g->step] /= sum;
}

/* -t ln y, one value. */
DN_HD double dn_softmax_loss(float y, float truth)
{
    return truth != 0.0f ? -(double)(truth * logf(fmaxf(y, FLT_MIN))) : 0.0;
}

/* x_grad += y (grad - sum grad y) / T. */
DN_HD void dn_softmax_backward(const dn_softmax_geometry *g, const float *y, const float *grad,
                               float *x_grad)
{
    float dot = 0.0f;
    for (int64_t i = 0; i < g->count; i++) dot += grad[i * g->step] * y[i * g->step];
    for (int64_t i = 0; i < g->count; i++)
        x_grad[i * g->step] += y[i * g->step] * (grad[i * g->step] - dot) / g->temperature;
}

/* x_grad += factor times the gradient of -sum t ln y: (y sum t - t) / T. */
DN_HD void dn_softmax_loss_backward(const dn_softmax_geometry *g, const float *y,
                                    const float *truth, float factor, float *x_grad)
{
    float sum = 0.0f;
    for (int64_t i = 0; i < g->count; i++) sum += truth[i * g->step];
    for (int64_t i = 0; i < g->count; i++)
        x_grad[i * g->step] +=
            factor * (y[i * g->step] * sum - truth[i * g->step]) / g->temperature;
}

#endif
