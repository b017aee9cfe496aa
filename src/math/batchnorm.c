/* Batch normalisation: see batchnorm.h. */
#include "math/batchnorm.h"

#include <stddef.h>

enum {
    LANES = 8,    /* sums side by side, so that none waits for the one before */
    CHUNK = 2048, /* values that stay in the L1 cache from one loop to the next */
};

static double total_of(const double lanes[LANES])
{
    double total = 0;
    for (int k = 0; k < LANES; k++) total += lanes[k];
    return total;
}

/* sums += x - origin, squares += (x - origin)^2 */
static void add_moments(const float *x, int64_t count, double origin, double sums[LANES],
                        double squares[LANES])
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int k = 0; k < LANES; k++) {
            const double d = (double)x[i + k] - origin;
            sums[k] += d;
            squares[k] += d * d;
        }
    for (int k = 0; i < count; i++, k++) {
        const double d = (double)x[i] - origin;
        sums[k] += d;
        squares[k] += d * d;
    }
}

/* One pass, about the channel's first value: in double no variance of floats drowns. */
void dn_batchnorm_statistics(const dn_batchnorm *norm, const float *x, float *mean, float *variance,
                             float *rolling_mean, float *rolling_variance)
{
    const int64_t count = norm->n * norm->spatial;
    if (count == 0) return;
#pragma omp parallel for num_threads(norm->threads)
    for (int32_t c = 0; c < norm->c; c++) {
        const double origin = (double)x[c * norm->spatial];
        double sums[LANES] = {0}, squares[LANES] = {0};
        for (int32_t n = 0; n < norm->n; n++)
            add_moments(x + ((int64_t)n * norm->c + c) * norm->spatial, norm->spatial, origin, sums,
                        squares);
        const double sum = total_of(sums);
        const double spread = total_of(squares) - sum * sum / (double)count;
        mean[c] = (float)(origin + sum / (double)count);
        variance[c] = dn_batchnorm_variance(spread < 0 ? 0 : spread, count);
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

/* sums += values */
static void add_values(const float *values, int64_t count, double sums[LANES])
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int k = 0; k < LANES; k++) sums[k] += (double)values[i + k];
    for (int k = 0; i < count; i++, k++) sums[k] += (double)values[i];
}

/* Where one channel of one image lies, and what its values pass through. */
typedef struct channel_row {
    int64_t start;
    float mean, inverse, factor, shift;
} channel_row;

/* grad *= f' for `count` values from `at` on; x is the value before normalisation or bias. */
static void turn_activation(const dn_batchnorm *norm, const channel_row *row, const float *x,
                            int64_t at, int64_t count, float *grad)
{
    float before[CHUNK];
    if (norm->activation == DN_ACTIVATION_linear) return;
    const bool needs_input = dn_activation_needs_input(norm->activation);
    if (needs_input)
        for (int64_t i = 0; i < count; i++) before[i] = row->factor * x[at + i] + row->shift;
    dn_activation_gradient_array(norm->activation, needs_input ? before : NULL, norm->y + at,
                                 grad + at, count);
}

/* sums += grad, dots += grad * h */
static void add_slopes(const float *x, const float *grad, int64_t count, float mean, float inverse,
                       double sums[LANES], double dots[LANES])
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int k = 0; k < LANES; k++) {
            const double g = (double)grad[i + k];
            sums[k] += g;
            dots[k] += g * (double)dn_batchnorm_unit(x[i + k], mean, inverse);
        }
    for (int k = 0; i < count; i++, k++) {
        const double g = (double)grad[i];
        sums[k] += g;
        dots[k] += g * (double)dn_batchnorm_unit(x[i], mean, inverse);
    }
}

/* The activation's part and the sums while a chunk is in the cache. */
static void first_sweep(const dn_batchnorm *norm, const channel_row *row, const float *x,
                        float *grad, double sums[LANES], double dots[LANES])
{
    const int64_t end = row->start + norm->spatial;
    for (int64_t at = row->start; at < end; at += CHUNK) {
        const int64_t count = end - at < CHUNK ? end - at : CHUNK;
        turn_activation(norm, row, x, at, count, grad);
        add_slopes(x + at, grad + at, count, row->mean, row->inverse, sums, dots);
    }
}

static void second_sweep(const dn_batchnorm *norm, const channel_row *row, const float *x,
                         float scale, dn_batchnorm_slopes slopes, float *grad)
{
    const float mean = row->mean, inverse = row->inverse;
    const int64_t end = row->start + norm->spatial;
    for (int64_t i = row->start; i < end; i++) {
        const float h = dn_batchnorm_unit(x[i], mean, inverse);
        grad[i] = dn_batchnorm_gradient(scale, inverse, grad[i], h, slopes);
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
        channel_row row = {.mean = mean[c], .inverse = 1.0f / dn_batchnorm_deviation(variance[c])};
        row.factor = dn_batchnorm_factor(norm->scales[c], variance[c]);
        row.shift = dn_batchnorm_shift(norm->biases[c], row.factor, row.mean);
        double sums[LANES] = {0}, dots[LANES] = {0};
        for (int32_t n = 0; n < norm->n; n++) {
            row.start = ((int64_t)n * norm->c + c) * norm->spatial;
            first_sweep(norm, &row, x, grad, sums, dots);
        }
        const double sum = total_of(sums), dot = total_of(dots);
        if (grad_scales) grad_scales[c] += (float)dot;
        if (grad_biases) grad_biases[c] += (float)sum;
        const dn_batchnorm_slopes slopes = dn_batchnorm_slopes_of(sum, dot, count);
        for (int32_t n = 0; n < norm->n; n++) {
            row.start = ((int64_t)n * norm->c + c) * norm->spatial;
            second_sweep(norm, &row, x, norm->scales[c], slopes, grad);
        }
    }
}

void dn_bias_backward(const dn_batchnorm *norm, const float *x, float *grad, float *grad_biases)
{
#pragma omp parallel for num_threads(norm->threads)
    for (int32_t c = 0; c < norm->c; c++) {
        channel_row row = {.factor = 1.0f, .shift = norm->biases[c]};
        double sums[LANES] = {0};
        for (int32_t n = 0; n < norm->n; n++) {
            row.start = ((int64_t)n * norm->c + c) * norm->spatial;
            const int64_t end = row.start + norm->spatial;
            for (int64_t at = row.start; at < end; at += CHUNK) {
                const int64_t count = end - at < CHUNK ? end - at : CHUNK;
                turn_activation(norm, &row, x, at, count, grad);
                add_values(grad + at, count, sums);
            }
        }
        if (grad_biases) grad_biases[c] += (float)total_of(sums);
    }
}
