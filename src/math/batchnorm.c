/* Batch normalisation: see batchnorm.h. */
#include "math/batchnorm.h"

#include <math.h>

static const float epsilon = 1e-5f;
static const float rolling_keep = 0.99f;

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
        variance[c] = (float)(squares / (double)(count > 1 ? count - 1 : 1));
        rolling_mean[c] = rolling_keep * rolling_mean[c] + (1.0f - rolling_keep) * mean[c];
        rolling_variance[c] =
            rolling_keep * rolling_variance[c] + (1.0f - rolling_keep) * variance[c];
    }
}

void dn_batchnorm_fold(const dn_batchnorm *norm, const float *mean, const float *variance,
                       float *factor, float *shift)
{
    for (int32_t c = 0; c < norm->c; c++) {
        factor[c] = norm->scales[c] / sqrtf(variance[c] + epsilon);
        shift[c] = norm->biases[c] - factor[c] * mean[c];
    }
}

void dn_batchnorm_apply(const dn_batchnorm *norm, const float *mean, const float *variance,
                        const float *x, float *y)
{
#pragma omp parallel for collapse(2) num_threads(norm->threads)
    for (int32_t n = 0; n < norm->n; n++) {
        for (int32_t c = 0; c < norm->c; c++) {
            const float factor = norm->scales[c] / sqrtf(variance[c] + epsilon);
            const int64_t start = ((int64_t)n * norm->c + c) * norm->spatial;
            for (int64_t i = start; i < start + norm->spatial; i++)
                y[i] = factor * (x[i] - mean[c]) + norm->biases[c];
        }
    }
}

/* With d = dL/dy * scale and h = (x - mean) / std over the channel's N values:
 * dL/dx = (d - mean(d) - h * sum(d * h) / (N - 1)) / std. */
void dn_batchnorm_backward(const dn_batchnorm *norm, const float *x, const float *mean,
                           const float *variance, float *grad, float *grad_scales,
                           float *grad_biases)
{
    const int64_t count = norm->n * norm->spatial;
    if (count == 0) return;
#pragma omp parallel for num_threads(norm->threads)
    for (int32_t c = 0; c < norm->c; c++) {
        const float inverse = 1.0f / sqrtf(variance[c] + epsilon);
        double sum = 0, dot = 0;
        for (int32_t n = 0; n < norm->n; n++) {
            const int64_t start = ((int64_t)n * norm->c + c) * norm->spatial;
            for (int64_t i = start; i < start + norm->spatial; i++) {
                sum += (double)grad[i];
                dot += (double)grad[i] * (double)((x[i] - mean[c]) * inverse);
            }
        }
        if (grad_scales) grad_scales[c] += (float)dot;
        if (grad_biases) grad_biases[c] += (float)sum;
        const float average = (float)(sum / (double)count);
        const float slope = (float)(dot / (double)(count > 1 ? count - 1 : 1));
        for (int32_t n = 0; n < norm->n; n++) {
            const int64_t start = ((int64_t)n * norm->c + c) * norm->spatial;
            for (int64_t i = start; i < start + norm->spatial; i++) {
                const float h = (x[i] - mean[c]) * inverse;
                grad[i] = norm->scales[c] * inverse * (grad[i] - average - h * slope);
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
