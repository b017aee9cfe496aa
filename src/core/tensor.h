/* A tensor is a view: four dimensions, values and gradients of the same shape. It owns nothing.
 *
 * Layout is NCHW, dense, float32. `n` is the capacity in images, or in RoIs behind [roialign]; how
 * many of them are live in a pass is dn_live() (layer.h). grad is dL/dx (Darknet's delta, negated),
 * NULL where no gradient is wanted; backward functions add to it.
 */
#ifndef DN_CORE_TENSOR_H
#define DN_CORE_TENSOR_H

#include <stdint.h>

typedef struct dn_tensor {
    int32_t n, c, h, w;
    float *data; /* (n, c, h, w) */
    float *grad; /* (n, c, h, w) or NULL */
} dn_tensor;

/* Values of one image or RoI. */
static inline int64_t dn_tensor_size(const dn_tensor *tensor)
{
    return (int64_t)tensor->c * tensor->h * tensor->w;
}

#endif
