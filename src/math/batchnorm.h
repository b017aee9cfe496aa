/* Batch normalisation over (n, c, spatial) arrays (Ioffe and Szegedy 2015, Darknet's constants).
 *
 * y = scale * (x - mean) / sqrt(variance + 1e-5) + bias. The variance of a batch is the unbiased
 * one (divided by N - 1; by 1 where N = 1); rolling = .99 rolling + .01 batch. Gradients are the
 * exact ones of that definition. Sums are in double, one channel by one thread, so that they do not
 * depend on the number of threads.
 */
#ifndef DN_MATH_BATCHNORM_H
#define DN_MATH_BATCHNORM_H

#include "math/activation.h"

/* ---- One channel or one element, on the CPU and in CUDA ---- */

/* From sum((x - mean)^2) over `count` values. */
DN_HD float dn_batchnorm_variance(double squares, int64_t count)
{
    return (float)(squares / (double)(count > 1 ? count - 1 : 1));
}

DN_HD float dn_batchnorm_roll(float rolling, float batch)
{
    const float keep = 0.99f;
    return keep * rolling + (1.0f - keep) * batch;
}

DN_HD float dn_batchnorm_deviation(float variance)
{
    return sqrtf(variance + 1e-5f);
}

/* y = factor * x + shift. */
DN_HD float dn_batchnorm_factor(float scale, float variance)
{
    return scale / dn_batchnorm_deviation(variance);
}

DN_HD float dn_batchnorm_shift(float bias, float factor, float mean)
{
    return bias - factor * mean;
}

/* h: x with the batch's mean 0 and deviation 1; inverse = 1 / deviation. */
DN_HD float dn_batchnorm_unit(float x, float mean, float inverse)
{
    return (x - mean) * inverse;
}

/* What a channel's gradient is reduced to: sum(g) / N and sum(g * h) / (N - 1), with g = dL/dy. */
typedef struct dn_batchnorm_slopes {
    float average, slope;
} dn_batchnorm_slopes;

DN_HD dn_batchnorm_slopes dn_batchnorm_slopes_of(double sum, double dot, int64_t count)
{
    const dn_batchnorm_slopes slopes = {(float)(sum / (double)count),
                                        (float)(dot / (double)(count > 1 ? count - 1 : 1))};
    return slopes;
}

/* dL/dx = scale / std * (g - sum(g) / N - h * sum(g * h) / (N - 1)). */
DN_HD float dn_batchnorm_gradient(float scale, float inverse, float g, float h,
                                  dn_batchnorm_slopes slopes)
{
    return scale * inverse * (g - slopes.average - h * slopes.slope);
}

/* ---- Arrays, on the CPU ---- */

typedef struct dn_batchnorm {
    int32_t n, c;
    int64_t spatial;              /* h * w */
    const float *scales, *biases; /* (c) */
    int32_t threads;
    dn_activation activation; /* that follows; read by the backward functions alone, as is y, */
    const float *y;           /* (n, c, spatial): what the activation gave. NULL where linear */
} dn_batchnorm;

/* mean, variance (c) of x (n, c, spatial); updates rolling_mean, rolling_variance (c). */
void dn_batchnorm_statistics(const dn_batchnorm *norm, const float *x, float *mean, float *variance,
                             float *rolling_mean, float *rolling_variance);

/* y = the normalised x; x and y may be the same array. */
void dn_batchnorm_apply(const dn_batchnorm *norm, const float *mean, const float *variance,
                        const float *x, float *y);

/* Folds into y = factor * x + shift, (c) each. */
void dn_batchnorm_fold(const dn_batchnorm *norm, const float *mean, const float *variance,
                       float *factor, float *shift);

/* From grad, the gradient behind the activation, and the batch's x, mean and variance: adds to
 * grad_scales and grad_biases (NULL: not wanted) and turns grad into dL/dx in place. */
void dn_batchnorm_backward(const dn_batchnorm *norm, const float *x, const float *mean,
                           const float *variance, float *grad, float *grad_scales,
                           float *grad_biases);

/* The same for a bias alone. x, the value before the bias, may be NULL where the activation's
 * gradient does not need it. */
void dn_bias_backward(const dn_batchnorm *norm, const float *x, float *grad, float *grad_biases);

#endif
