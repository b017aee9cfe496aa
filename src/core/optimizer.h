/* The optimizer: one step of SGD with momentum, or Adam, over all parameters that train.
 *
 * SGD (docs/numerics.md): v = m v + g/B + lambda w; w -= r v. Adam (Kingma and Ba 2015): the same
 * g/B + lambda w goes through the two moments. lambda only where DN_PARAM_DECAY is set; r is the
 * schedule's rate times the layer's learning_rate. The moments lie in one block, at the offsets of
 * the network's gradients, so that a checkpoint writes it as it is.
 */
#ifndef DN_CORE_OPTIMIZER_H
#define DN_CORE_OPTIMIZER_H

#include "core/network.h"

typedef struct dn_optimizer {
    bool adam;
    float momentum, decay, beta1, beta2, epsilon;
    int64_t steps;  /* done */
    int64_t floats; /* of `moments` */
    float *moments; /* SGD: v; Adam: first, then second moments */
} dn_optimizer;

/* Makes the optimizer of a training network's stage; freed with dn_optimizer_free. */
dn_status dn_optimizer_make(const dn_network *network, bool mask_stage, dn_optimizer *out);
void dn_optimizer_free(dn_optimizer *optimizer);

/* Updates the parameters from gradients summed over `batch` images, and zeroes the gradients. */
void dn_optimizer_step(dn_optimizer *optimizer, dn_network *network, float rate, int32_t batch);

#endif
