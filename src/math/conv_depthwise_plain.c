/* The sums of a depthwise strip in plain C: one output row at a time, tap by tap. */
#include "math/conv_depthwise.h"

enum { SPAN = 64 }; /* outputs summed at once: they stay in registers or the L1 cache */

/* sums[j] = the taps' sum of output (row, column + j), j < count. */
static void sum_span(const dn_depthwise_strip *s, int32_t row, int32_t column, int32_t count,
                     float *sums)
{
    for (int32_t j = 0; j < count; ++j) sums[j] = 0.0f;
    for (int32_t tap = 0; tap < s->size * s->size; ++tap) {
        const int32_t ky = tap / s->size, kx = tap % s->size;
        const float *in = s->window + (row * s->stride_y + ky * s->dilation) * s->pitch +
                          column * s->stride_x + kx * s->dilation;
        const float weight = s->weights[tap];
        if (s->stride_x == 1) {
            for (int32_t j = 0; j < count; ++j) sums[j] += weight * in[j];
        } else {
            for (int32_t j = 0; j < count; ++j) sums[j] += weight * in[j * s->stride_x];
        }
    }
}

void dn_depthwise_plain(const dn_depthwise_strip *s)
{
    for (int32_t row = 0; row < s->rows; ++row) {
        for (int32_t column = 0; column < s->columns; column += SPAN) {
            const int32_t count = s->columns - column < SPAN ? s->columns - column : SPAN;
            float sums[SPAN];
            sum_span(s, row, column, count, sums);
            float *out = s->out + (ptrdiff_t)row * s->columns + column;
            for (int32_t j = 0; j < count; ++j) {
                const float y = sums[j] * s->scale + s->shift;
                const float z = dn_activate_plain(y, s->activation, s->slope);
                out[j] = s->accumulate ? out[j] + z : z;
            }
        }
    }
}
