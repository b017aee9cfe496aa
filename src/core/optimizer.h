/* The optimizer: one step of SGD with momentum, Adam or AdamW over all parameters that train.
 *
 * With g the mean gradient of the batch, lambda only where DN_PARAM_DECAY is set and r the
 * schedule's rate times the layer's learning_rate (docs/numerics.md):
 *   SGD    v = m v + g + lambda w; w -= r v.
 *   Adam   (Kingma and Ba 2015) takes g + lambda w through the two moments.
 *   AdamW  (Loshchilov and Hutter 2019) takes g through them; w -= r lambda w besides.
 * With max_norm, g is first multiplied by max_norm / (|g| + 1e-6) where that is below 1; |g| is the
 * norm over all parameters that train, summed in double in a fixed order. A gradient that is no
 * number changes nothing and is an error.
 * With ema_alpha, an average of the parameters goes along: a += (1 - d) (w - a) behind every step,
 * with d = min(ema_alpha, (1 + t) / (10 + t)) at step t, so that the start is forgotten soon.
 *
 * Where factors are rounded to half precision (DN_PRODUCTS_F16), gradients are those of the loss
 * times a scale, a power of two, so that small ones are not rounded to 0; a step takes it out
 * again. Where the scale made them overflow the step is left out and the scale halved;
 * DN_SCALED_STEPS steps without that double it (Micikevicius et al. 2018).
 *
 * The arrays lie one behind the other in one block of the network's backend, each at the offsets of
 * the network's gradients, so that a checkpoint writes the block as it is. Every element is
 * computed by itself (math/optimizer.h): the bits do not depend on the number of threads, and CUDA
 * differs from the CPU by the order of the norm's sum alone.
 */
#ifndef DN_CORE_OPTIMIZER_H
#define DN_CORE_OPTIMIZER_H

#include "core/network.h"

enum { DN_SCALED_STEPS = 2000, DN_LARGEST_LOSS_SCALE = 1 << 24, DN_SCALE_FLOATS = 2 };

typedef enum dn_update_rule { DN_RULE_SGD, DN_RULE_ADAM, DN_RULE_ADAMW } dn_update_rule;

struct dn_optimizer {
    dn_update_rule rule;
    float momentum, decay, beta1, beta2, epsilon;
    float max_norm;       /* 0: no limit */
    float ema_alpha;      /* 0: no average */
    bool scales_loss;     /* half precision: the gradients are loss_scale times as large */
    float loss_scale;     /* as the network has it */
    int32_t scaled_steps; /* done since it changed */
    int64_t steps;        /* done */
    int64_t trained;      /* floats of one array */
    int32_t moment_count; /* SGD: v; Adam: first and second moments */
    int64_t floats;       /* of `values` */
    const dn_backend *backend;
    float *values;    /* a block: (moments, then the average if there is one; trained), then what
                         a checkpoint holds of the loss scale */
    void *scratch;    /* a block of DN_SUM_SCRATCH bytes */
    double grad_norm; /* |g| of the last step */
};

/* The loss scale from now on, of optimizer and network. */
void dn_optimizer_scale_loss(dn_optimizer *optimizer, dn_network *network, float scale);

/* Takes over the loss scale that a checkpoint has put into the block. */
dn_status dn_optimizer_take_scale(dn_optimizer *optimizer, dn_network *network);

/* The average goes along with a step that is done; nothing where there is none. */
dn_status dn_optimizer_average(const dn_optimizer *optimizer, const dn_network *network);

/* Whether all of a block's values are numbers. */
dn_status dn_optimizer_sees_numbers(const dn_optimizer *optimizer, const float *values,
                                    int64_t count, int32_t threads, bool *numbers);

/* The public functions are in darknet.h: dn_optimizer_*. */

#endif
