/* [batchnorm]: batch normalisation alone, with scale and bias a channel (math/batchnorm.h).
 *
 * A .weights file holds biases, scales, mean, variance (AlexeyAB's form; pjreddie's has no biases
 * and is not read).
 */
#include "math/batchnorm.h"
#include "core/network.h"
#include "layers/output_stage.h"

#include <stdio.h>

static dn_status setup(dn_layer *layer, dn_network *network)
{
    dn_output_stage *stage = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    stage->batch_normalize = true;
    DN_TRY(dn_set_output(layer, network, in->c, in->h, in->w));
    DN_TRY(dn_stage_add_biases(layer, network, stage, in->c));
    DN_TRY(dn_stage_add_norm(layer, network, stage, in->c));
    if (layer->trains) layer->saved_floats = 2 * (int64_t)in->c; /* the batch's statistics */
    return DN_OK;
}

static dn_batchnorm norm_of(const dn_layer *layer, const dn_pass *pass)
{
    const dn_output_stage *stage = layer->state;
    return (dn_batchnorm){
        .n = dn_live(layer, pass),
        .c = layer->out.c,
        .spatial = (int64_t)layer->out.h * layer->out.w,
        .scales = stage->scales->data,
        .biases = stage->biases->data,
        .threads = pass->threads,
    };
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_output_stage *stage = layer->state;
    const dn_batchnorm norm = norm_of(layer, pass);
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    const float *mean = stage->mean->data, *variance = stage->variance->data;
    if (pass->training) {
        float *batch_mean = layer->saved, *batch_variance = layer->saved + norm.c; /* (c) */
        dn_batchnorm_statistics(&norm, in, batch_mean, batch_variance, stage->mean->data,
                                stage->variance->data);
        mean = batch_mean;
        variance = batch_variance;
    }
    dn_batchnorm_apply(&norm, mean, variance, in, layer->out.data);
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_output_stage *stage = layer->state;
    const dn_batchnorm norm = norm_of(layer, pass);
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(in);
    dn_batchnorm_backward(&norm, in->data, layer->saved, layer->saved + norm.c, layer->out.grad,
                          stage->scales->grad, stage->biases->grad);
    if (!in->grad) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t i = 0; i < count; i++) in->grad[i] += layer->out.grad[i];
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_tensor *out = &layer->out;
    (void)network;
    snprintf(text, size, "Batch Normalization Layer: %d x %d x %d image", out->w, out->h, out->c);
}

const dn_layer_type dn_batchnorm_layer = {
    .name = "batchnorm",
    .state_size = sizeof(dn_output_stage),
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
