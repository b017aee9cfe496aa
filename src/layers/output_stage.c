/* Batch normalisation or bias, and activation: see output_stage.h. */
#include "layers/output_stage.h"

#include "core/network.h"
#include "math/batchnorm.h"

enum { CHUNK = 2048 }; /* values that stay in the L1 cache from one loop to the next */

dn_status dn_stage_add_biases(dn_layer *layer, const dn_network *network, dn_output_stage *stage,
                              int32_t channels)
{
    const dn_param biases = {.name = "biases", .count = channels, .outputs = channels};
    DN_TRY(dn_add_param(layer, network, biases));
    stage->biases = dn_find_param(layer, "biases");
    return DN_OK;
}

dn_status dn_stage_add_norm(dn_layer *layer, const dn_network *network, dn_output_stage *stage,
                            int32_t channels)
{
    if (!stage->batch_normalize) return DN_OK;
    dn_param norm = {
        .name = "scales",
        .count = channels,
        .outputs = channels,
        .flags = DN_PARAM_NORM,
        .init_value = 1,
    };
    DN_TRY(dn_add_param(layer, network, norm));
    norm.flags |= DN_PARAM_STATISTIC;
    norm.name = "mean";
    norm.init_value = 0;
    DN_TRY(dn_add_param(layer, network, norm));
    norm.name = "variance";
    norm.init_value = 1;
    DN_TRY(dn_add_param(layer, network, norm));
    stage->scales = dn_find_param(layer, "scales");
    stage->mean = dn_find_param(layer, "mean");
    stage->variance = dn_find_param(layer, "variance");
    return DN_OK;
}

static int64_t spatial_of(const dn_layer *layer)
{
    return (int64_t)layer->out.h * layer->out.w;
}

int64_t dn_stage_saved(const dn_layer *layer, const dn_output_stage *stage)
{
    if (!layer->trains || !dn_stage_keeps_pre(stage)) return 0;
    return layer->out.n * dn_tensor_size(&layer->out) + 2 * (int64_t)layer->out.c;
}

int64_t dn_stage_workspace(const dn_layer *layer)
{
    return 2 * (int64_t)layer->out.c;
}

float *dn_stage_target(const dn_layer *layer, const dn_pass *pass, const dn_output_stage *stage)
{
    const bool keeps = pass->training && dn_stage_keeps_pre(stage);
    return keeps ? dn_stage_keeps(layer).pre : layer->out.data;
}

static dn_batchnorm norm_of(const dn_layer *layer, const dn_pass *pass,
                            const dn_output_stage *stage)
{
    return (dn_batchnorm){
        .n = dn_live(layer, pass),
        .c = layer->out.c,
        .spatial = spatial_of(layer),
        .scales = stage->scales ? stage->scales->data : NULL,
        .biases = stage->biases->data,
        .threads = pass->threads,
    };
}

/* out = f(factor * z + shift), channel by channel; factor NULL: 1. */
static void finish(const dn_layer *layer, const dn_pass *pass, const dn_output_stage *stage,
                   const float *z, const float *factor, const float *shift)
{
    const int64_t spatial = spatial_of(layer);
    const int64_t rows = (int64_t)dn_live(layer, pass) * layer->out.c;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t row = 0; row < rows; row++) {
        const int32_t c = (int32_t)(row % layer->out.c);
        const float *from = z + row * spatial;
        float *to = layer->out.data + row * spatial;
        const float f = factor ? factor[c] : 1.0f, s = shift[c];
        for (int64_t at = 0; at < spatial; at += CHUNK) {
            const int64_t end = at + CHUNK < spatial ? at + CHUNK : spatial;
            for (int64_t i = at; i < end; i++) to[i] = f * from[i] + s;
            dn_activate_array(stage->activation, to + at, to + at, end - at);
        }
    }
}

void dn_stage_forward(const dn_layer *layer, const dn_pass *pass, const dn_output_stage *stage)
{
    const dn_batchnorm norm = norm_of(layer, pass, stage);
    const float *z = dn_stage_target(layer, pass, stage);
    if (!stage->batch_normalize) {
        finish(layer, pass, stage, z, NULL, stage->biases->data);
        return;
    }
    const float *mean = stage->mean->data, *variance = stage->variance->data;
    if (pass->training) {
        const dn_stage_kept kept = dn_stage_keeps(layer);
        dn_batchnorm_statistics(&norm, z, kept.mean, kept.variance, stage->mean->data,
                                stage->variance->data);
        mean = kept.mean;
        variance = kept.variance;
    }
    float *factor = pass->workspace, *shift = factor + norm.c;
    dn_batchnorm_fold(&norm, mean, variance, factor, shift);
    finish(layer, pass, stage, z, factor, shift);
}

void dn_stage_fold(const dn_layer *layer, const dn_output_stage *stage, float *factor, float *shift)
{
    const dn_batchnorm norm = {
        .c = layer->out.c,
        .scales = stage->scales->data,
        .biases = stage->biases->data,
    };
    dn_batchnorm_fold(&norm, stage->mean->data, stage->variance->data, factor, shift);
}

void dn_stage_backward(const dn_layer *layer, const dn_pass *pass, const dn_output_stage *stage)
{
    dn_batchnorm norm = norm_of(layer, pass, stage);
    dn_stage_kept kept = {NULL, NULL, NULL};
    if (dn_stage_keeps_pre(stage)) kept = dn_stage_keeps(layer);
    norm.activation = stage->activation;
    norm.y = layer->out.data;
    if (stage->batch_normalize)
        dn_batchnorm_backward(&norm, kept.pre, kept.mean, kept.variance, layer->out.grad,
                              stage->scales->grad, stage->biases->grad);
    else
        dn_bias_backward(&norm, kept.pre, layer->out.grad, stage->biases->grad);
}
