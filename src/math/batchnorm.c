/* Batch normalisation: see batchnorm.h. */
#include "math/batchnorm.h"

void dn_batchnorm_statistics(const dn_batchnorm *norm, const float *x, float *mean, float *variance,
                             float *rolling_mean, float *rolling_variance)
{
    const int64_t count = norm->n * norm->spatial;
    if (count == 0) return;
#pragma omp parallel for num_threads(norm->threads)
    for (int32_t c = 0; c < norm->c; c++) {
        double sum = 0, squares = 0;
        for (int32_t n = 0; n < norm->n; n++) {
            const float *row = x + ((int64_t)n * norm->c + c) * norm->spatial;
            for (int64_t i = 0; i < norm->spatial; i++) sum += (double)row[i];
        }
        const double m = sum / (double)count;
        for (int32_t n = 0; n < norm->n; n++) {
            const float *row = x + ((int64_t)n * norm->c + c) * norm->spatial;
            for (int64_t i = 0; i < norm->spatial; i++) {
                const double d = (double)row[i] - m;
                squares += d * d;
            }
        }
        mean[c] = (float)m;
        variance[c] = dn_batchnorm_variance(squares, count);
        rolling_mean[c] = dn_batchnorm_roll(rolling_mean[c], mean[c]);
        rolling_variance[c] = dn_batchnorm_roll(rolling_variance[c], variance[c]);
    }
}

void dn_batchnorm_fold(const dn_batchnorm *norm, const float *mean, const float *variance,
                       float *factor, float *shift)
{
    for (int32_t c = 0; c < norm->c; c++) {
        factor[c] = dn_batchnorm_factor(norm->scales[c], variance[c]);
        shift[c] = dn_batchnorm_shift(norm->biases[c], factor[c], mean[c]);
    }
}

void dn_batchnorm_apply(const dn_batchnorm *norm, const float *mean, const float *variance,
                        const float *x, float *y)
{
#pragma omp parallel for collapse(2) num_threads(norm->threads)
    for (int32_t n = 0; n < norm->n; n++) {
        for (int32_t c = 0; c < norm->c; c++) {
            const float factor = dn_batchnorm_factor(norm->scales[c], variance[c]);
            const int64_t start = ((int64_t)n * norm->c + c) * norm->spatial;
            for (int64_t i = start; i < start + norm->spatial; i++)
                y[i] = factor * (x[i] - mean[c]) + norm->biases[c];
        }
    }
}

void dn_batchnorm_backward(const dn_batchnorm *norm, const float *x, const float *mean,
                           const float *variance, float *grad, float *grad_scales,
                           float *grad_biases)
{
    const int64_t count = norm->n * norm->spatial;
    if (count == 0) return;
#pragma omp parallel for num_threads(norm->threads)
    for (int32_t c = 0; c < norm->c; c++) {
        const float inverse = 1.0f / dn_batchnorm_deviation(variance[c]);
        double sum = 0, dot = 0;
        for (int32_t n = 0; n < norm->n; n++) {
            const int64_t start = ((int64_t)n * norm->c + c) * norm->spatial;
            for (int64_t i = start; i < start + norm->spatial; i++) {
                sum += (double)grad[i];
                dot += (double)grad[i] * (double)dn_batchnorm_unit(x[i], mean[c], inverse);
            }
        }
        if (grad_scales) grad_scales[c] += (float)dot;
        if (grad_biases) grad_biases[c] += (float)sum;
        const dn_batchnorm_slopes slopes = dn_batchnorm_slopes_of(sum, dot, count);
        for (int32_t n = 0; n < norm->n; n++) {
            const int64_t start = ((int64_t)n * norm->c + c) * norm->spatial;
            for (int64_t i = start; i < start + norm->spatial; i++) {
                const float h = dn_batchnorm_unit(x[i], mean[c], inverse);
                grad[i] = dn_batchnorm_gradient(norm->scales[c], inverse, grad[i], h, slopes);
            }
        }
    }
}

void dn_bias_backward(const dn_batchnorm *norm, const float *grad, float *grad_biases)
{
#pragma omp parallel for num_threads(norm->threads)
    for (int32_t c = 0; c < norm->c; c++) {
        double sum = 0;
        for (int32_t n = 0; n < norm->n; n++) {
            const float *row = grad + ((int64_t)n * norm->c + c) * norm->spatial;
            for (int64_t i = 0; i < norm->spatial; i++) sum += (double)row[i];
        }
        grad_biases[c] += (float)sum;
    }
}
