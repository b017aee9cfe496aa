/* The end of [convolutional], [deconvolutional] and [connected]: batch normalisation or a bias,
 * then an activation, channel by channel.
 *
 * out = f(scale * (z - mean) / sqrt(variance + 1e-5) + bias), or f(z + bias). The layer writes z
 * where dn_stage_target says; in inference that is the output itself. In training z is saved where
 * backward needs it. dn_stage_forward and dn_stage_backward use the first dn_stage_workspace floats
 * of the pass's workspace.
 */
#ifndef DN_LAYERS_OUTPUT_STAGE_H
#define DN_LAYERS_OUTPUT_STAGE_H

#include "core/layer.h"
#include "math/activation.h"

typedef struct dn_output_stage {
    bool batch_normalize;
    dn_activation activation;
    dn_param *biases, *scales, *mean, *variance; /* (c); the last three NULL without norm */
    float *pre;                                  /* (n, c, h, w): z of the last training forward */
    float *batch_mean, *batch_variance;          /* (c) */
} dn_output_stage;

/* Declares biases / scales, mean and variance (where there is batch normalisation), (channels). */
dn_status dn_stage_add_biases(dn_layer *layer, const dn_network *network, dn_output_stage *stage,
                              int32_t channels);
dn_status dn_stage_add_norm(dn_layer *layer, const dn_network *network, dn_output_stage *stage,
                            int32_t channels);

/* What the stage adds to layer->saved_floats; the output's shape is set. */
int64_t dn_stage_saved(const dn_layer *layer, const dn_output_stage *stage);
int64_t dn_stage_workspace(const dn_layer *layer, const dn_network *network);

/* Where this pass's z goes: (n, c, h, w). */
float *dn_stage_target(dn_layer *layer, const dn_pass *pass, dn_output_stage *stage);

/* From z at dn_stage_target to the output; in training updates the rolling statistics. */
void dn_stage_forward(const dn_layer *layer, const dn_pass *pass, const dn_output_stage *stage);

/* factor, shift (c) so that norm(z) = factor * z + shift, from the parameters' statistics; only
 * with batch normalisation. */
void dn_stage_fold(const dn_layer *layer, const dn_output_stage *stage, float *factor,
                   float *shift);

/* layer->out.grad becomes dL/dz; biases and scales get their gradients. */
void dn_stage_backward(const dn_layer *layer, const dn_pass *pass, const dn_output_stage *stage);

#endif
