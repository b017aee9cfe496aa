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

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dn_output_stage {
    bool batch_normalize;
    dn_activation activation;
    dn_param *biases, *scales, *mean, *variance; /* (c); the last three NULL without norm */
} dn_output_stage;

/* What a training forward leaves in layer->saved for backward. */
typedef struct dn_stage_kept {
    float *pre;             /* (n, c, h, w): z */
    float *mean, *variance; /* (c), of the batch; with batch normalisation */
} dn_stage_kept;

static inline dn_stage_kept dn_stage_keeps(const dn_layer *layer)
{
    float *mean = layer->saved + layer->out.n * dn_tensor_size(&layer->out);
    const dn_stage_kept kept = {layer->saved, mean, mean + layer->out.c};
    return kept;
}

/* Whether a training forward keeps z. */
static inline bool dn_stage_keeps_pre(const dn_output_stage *stage)
{
    return stage->batch_normalize || dn_activation_needs_input(stage->activation);
}

/* Declares biases / scales, mean and variance (where there is batch normalisation), (channels). */
dn_status dn_stage_add_biases(dn_layer *layer, const dn_network *network, dn_output_stage *stage,
                              int32_t channels);
dn_status dn_stage_add_norm(dn_layer *layer, const dn_network *network, dn_output_stage *stage,
                            int32_t channels);

/* What the stage adds to layer->saved_floats; the output's shape is set. */
int64_t dn_stage_saved(const dn_layer *layer, const dn_output_stage *stage);
int64_t dn_stage_workspace(const dn_layer *layer);

/* Where this pass's z goes: (n, c, h, w). */
float *dn_stage_target(const dn_layer *layer, const dn_pass *pass, const dn_output_stage *stage);

/* From z at dn_stage_target to the output; in training updates the rolling statistics. */
void dn_stage_forward(const dn_layer *layer, const dn_pass *pass, const dn_output_stage *stage);

/* factor, shift (c) so that norm(z) = factor * z + shift, from the parameters' statistics; only
 * with batch normalisation. */
void dn_stage_fold(const dn_layer *layer, const dn_output_stage *stage, float *factor,
                   float *shift);

/* layer->out.grad becomes dL/dz; biases and scales get their gradients. */
void dn_stage_backward(const dn_layer *layer, const dn_pass *pass, const dn_output_stage *stage);

#ifdef __cplusplus
}
#endif

#endif
