/* Where an element of a shortcut's output finds its partner in another layer's tensor, and how
 * learned factors are normalised.
 *
 * Tensors of different size overlap by pjreddie's rule: the larger side is read with a step
 * (`stride`), or the smaller one lands on every `sample`-th pixel; channels and pixels beyond the
 * smaller tensor have no partner. Each element of the other tensor has at most one.
 */
#ifndef DN_MATH_SHORTCUT_H
#define DN_MATH_SHORTCUT_H

#include "math/portable.h"

typedef struct dn_overlap {
    int32_t h, w;                /* of the other tensor */
    int32_t min_c, min_h, min_w; /* what both have */
    int32_t stride, sample;      /* at least 1 */
} dn_overlap;

/* Index in the other tensor's plane of channel c; -1: no partner. */
DN_HD int32_t dn_overlap_source(const dn_overlap *o, int32_t c, int32_t y, int32_t x)
{
    if (c >= o->min_c || y % o->sample != 0 || x % o->sample != 0) return -1;
    const int32_t j = y / o->sample, i = x / o->sample;
    if (j >= o->min_h || i >= o->min_w) return -1;
    return j * o->stride * o->w + i * o->stride;
}

#define DN_SHORTCUT_EPSILON 1e-4f

/* The factors made from one column of weights, values[k * step] for k < count, in place: softmax,
 * after the maximum is subtracted, or the share of what is above 0. */
DN_HD void dn_shortcut_normalize(bool softmax, float *values, int32_t count, int32_t step)
{
    float most = values[0], sum = 0.0f;
    for (int32_t k = 1; k < count; k++) most = fmaxf(most, values[k * step]);
    for (int32_t k = 0; k < count; k++) {
        float *value = &values[k * step];
        *value = softmax ? expf(*value - most) : fmaxf(*value, 0.0f);
        sum += *value;
    }
    for (int32_t k = 0; k < count; k++) values[k * step] /= sum + DN_SHORTCUT_EPSILON;
}

/* From the factors' gradients of that column to the weights', in place. Softmax's largest weight
 * also moves the maximum that is subtracted, against which the 1e-4 stands. */
DN_HD void dn_shortcut_normalize_backward(bool softmax, const float *weights, const float *factors,
                                          float *grads, int32_t count, int32_t step)
{
    float dot = 0.0f, sum = 0.0f;
    int32_t largest = 0;
    for (int32_t k = 0; k < count; k++) {
        dot += factors[k * step] * grads[k * step];
        sum += fmaxf(weights[k * step], 0.0f);
        if (weights[k * step] > weights[largest * step]) largest = k;
    }
    for (int32_t k = 0; k < count; k++) {
        const float slope = softmax                    ? factors[k * step]
                            : weights[k * step] > 0.0f ? 1.0f / (sum + DN_SHORTCUT_EPSILON)
                                                       : 0.0f;
        grads[k * step] = slope * (grads[k * step] - dot);
    }
    if (softmax) grads[largest * step] -= dot * DN_SHORTCUT_EPSILON * factors[largest * step];
}

#endif
