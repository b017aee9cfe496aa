/* [connected]: every output is a weighted sum of all inputs of its image, then batch normalisation
 * or a bias, then an activation. Weights are (output, inputs); a .weights file holds biases,
 * weights and then scales, mean and variance, in this order. */
#include "layers/connected.h"

#include "core/memory.h"
#include "core/network.h"

#include <stdio.h>

#define S dn_connected_options
static const dn_option options[] = {
    DN_INT(S, output, "output", 1, 1, 1 << 24, "outputs"),
    DN_CHOICE(S, activation, "activation", DN_ACTIVATION_logistic, dn_activation_names,
              "what follows"),
    DN_FLAG(S, batch_normalize, "batch_normalize", 0, "batch normalisation instead of a bias"),
    DN_OPTIONS_END,
};
#undef S

dn_gemm_args dn_connected_forward(const dn_layer *layer, int32_t images, int32_t threads)
{
    const dn_connected *state = layer->state;
    return (dn_gemm_args){
        .trans_b = true,
        .m = images,
        .n = layer->out.c,
        .k = state->inputs,
        .alpha = 1,
        .lda = state->inputs,
        .ldb = state->inputs,
        .ldc = layer->out.c,
        .threads = threads,
    };
}

dn_gemm_args dn_connected_weights(const dn_layer *layer, int32_t images, int32_t threads)
{
    const dn_connected *state = layer->state;
    return (dn_gemm_args){
        .trans_a = true,
        .m = layer->out.c,
        .n = state->inputs,
        .k = images,
        .alpha = 1,
        .lda = layer->out.c,
        .ldb = state->inputs,
        .beta = 1,
        .ldc = state->inputs,
        .threads = threads,
    };
}

dn_gemm_args dn_connected_inputs(const dn_layer *layer, int32_t images, int32_t threads)
{
    const dn_connected *state = layer->state;
    return (dn_gemm_args){
        .m = images,
        .n = state->inputs,
        .k = layer->out.c,
        .alpha = 1,
        .lda = layer->out.c,
        .ldb = state->inputs,
        .beta = 1,
        .ldc = state->inputs,
        .threads = threads,
    };
}

static int64_t workspace(const dn_layer *layer, const dn_network *network)
{
    const int32_t images = layer->out.n, threads = network->options.threads;
    const dn_gemm_args products[3] = {
        dn_connected_forward(layer, images, threads),
        dn_connected_weights(layer, images, threads),
        dn_connected_inputs(layer, images, threads),
    };
    int64_t most = dn_stage_workspace(layer);
    for (int32_t i = 0; i < (layer->trains ? 3 : 1); i++) {
        const int64_t floats = dn_gemm_workspace(&products[i]);
        if (floats > most) most = floats;
    }
    return most;
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_connected_options *o = layer->options;
    dn_connected *state = layer->state;
    const int64_t inputs = dn_tensor_size(dn_input_shape(layer, network, 0));
    int64_t floats;
    if (dn_product(&floats, INT64_C(1) << 33, inputs, o->output, 1, 1) != DN_OK ||
        inputs > INT32_MAX)
        return dn_layer_fail(layer, network, "%d x %lld weights are too many", o->output,
                             (long long)inputs);
    const dn_param weights = {
        .name = "weights",
        .count = floats,
        .outputs = o->output,
        .flags = DN_PARAM_DECAY,
        .init = DN_INIT_UNIFORM,
        .init_value = sqrtf(2.0f / (float)inputs),
    };
    state->inputs = (int32_t)inputs;
    state->stage.batch_normalize = o->batch_normalize;
    state->stage.activation = (dn_activation)o->activation;
    DN_TRY(dn_set_output(layer, network, o->output, 1, 1));
    DN_TRY(dn_stage_add_biases(layer, network, &state->stage, o->output));
    DN_TRY(dn_add_param(layer, network, weights));
    DN_TRY(dn_stage_add_norm(layer, network, &state->stage, o->output));
    state->weights = dn_find_param(layer, "weights");
    layer->workspace_floats = workspace(layer, network);
    layer->saved_floats = dn_stage_saved(layer, &state->stage);
    layer->flops = 2 * floats;
    return DN_OK;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    dn_connected *state = layer->state;
    dn_gemm_args args = dn_connected_forward(layer, dn_live(layer, pass), pass->threads);
    args.a = dn_input(layer, pass, 0)->data;
    args.b = state->weights->data;
    args.c = dn_stage_target(layer, pass, &state->stage);
    args.workspace = pass->workspace;
    dn_gemm(&args);
    dn_stage_forward(layer, pass, &state->stage);
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_connected *state = layer->state;
    const dn_tensor *in = dn_input(layer, pass, 0);
    dn_stage_backward(layer, pass, &state->stage);
    dn_gemm_args weights = dn_connected_weights(layer, dn_live(layer, pass), pass->threads);
    dn_gemm_args inputs = dn_connected_inputs(layer, dn_live(layer, pass), pass->threads);
    weights.a = inputs.a = layer->out.grad;
    weights.b = in->data;
    weights.c = state->weights->grad;
    inputs.b = state->weights->data;
    inputs.c = in->grad;
    weights.workspace = inputs.workspace = pass->workspace;
    if (weights.c) dn_gemm(&weights);
    if (inputs.c) dn_gemm(&inputs);
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_connected *state = layer->state;
    (void)network;
    snprintf(text, size, "connected                            %4d  ->  %4d", state->inputs,
             layer->out.c);
}

const dn_layer_type dn_connected_layer = {
    .name = "connected",
    .aliases = {"conn"},
    .options_size = sizeof(dn_connected_options),
    .options = options,
    .state_size = sizeof(dn_connected),
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
