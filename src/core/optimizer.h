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

struct dn_optimizer {
    bool adam;
    float momentum, decay, beta1, beta2, epsilon;
    int64_t steps;  /* done */
    int64_t floats; /* of `moments` */
    float *moments; /* SGD: v; Adam: first, then second moments */
};

/* The public functions are in darknet.h: dn_optimizer_create, _step, _free. */

#endif
