/* What the optimizer does to every element, and the sum of squares that its norm needs.
 *
 * The bodies are shared by C (optimizer.c) and CUDA (cuda/optimizer.cu); the rules that they are
 * parts of: core/optimizer.h.
 */
#ifndef DN_MATH_OPTIMIZER_H
#define DN_MATH_OPTIMIZER_H

#include "math/portable.h"

typedef enum dn_update_kind {
    DN_UPDATE_SGD,
    DN_UPDATE_ADAM,     /* AdamW too: what decays is in `decay` or in `kept` */
    DN_UPDATE_AVERAGE,  /* first += rate (values - first) */
    DN_UPDATE_EXCHANGE, /* values and first */
} dn_update_kind;

/* One way to go over arrays of `count` elements; what a kind does not name it does not read. */
typedef struct dn_update {
    dn_update_kind kind;
    float rate;
    float scale, decay; /* g = scale grad + decay w */
    float momentum;
    float beta1, beta2, epsilon;
    float correct1, correct2; /* 1 / (1 - beta^t) */
    float kept;               /* what AdamW's decay leaves of w; 1: all */
    int64_t count;
    float *values;
    const float *grads;
    float *first, *second; /* the moments */
} dn_update;

DN_HD void dn_update_sgd(const dn_update *u, int64_t i)
{
    u->first[i] = u->momentum * u->first[i] + u->scale * u->grads[i] + u->decay * u->values[i];
    u->values[i] -= u->rate * u->first[i];
}

DN_HD void dn_update_adam(const dn_update *u, int64_t i)
{
    const float g = u->scale * u->grads[i] + u->decay * u->values[i];
    const float first = u->beta1 * u->first[i] + (1.0f - u->beta1) * g;
    const float second = u->beta2 * u->second[i] + (1.0f - u->beta2) * g * g;
    u->first[i] = first;
    u->second[i] = second;
    u->values[i] = u->kept * u->values[i] -
                   u->rate * u->correct1 * first / (sqrtf(u->correct2 * second) + u->epsilon);
}

DN_HD void dn_update_average(const dn_update *u, int64_t i)
{
    u->first[i] += u->rate * (u->values[i] - u->first[i]);
}

DN_HD void dn_update_exchange(const dn_update *u, int64_t i)
{
    const float held = u->values[i];
    u->values[i] = u->first[i];
    u->first[i] = held;
}

/* On host memory; the bits do not depend on the number of threads. */
void dn_update_run(const dn_update *update, int32_t threads);

/* The sum in double of the squares, in one order whatever the number of threads. It is finite where
 * all values are numbers, and only there: no square of a float is too large for a double. */
double dn_square_sum(const float *values, int64_t count, int32_t threads);

#endif
