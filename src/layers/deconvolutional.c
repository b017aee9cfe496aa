/* [deconvolutional]: a transposed convolution, batch normalisation or bias, an activation.
 *
 * Every input value adds its filters, times the value, to the output at `stride` times its place:
 * out size = (in - 1) * stride + size - 2 * padding + output_padding. Weights are (c, filters,
 * size, size), as in PyTorch. It is the gradient of a convolution from its output to its input, and
 * runs as that (math/conv_backward.h); backward is the convolution.
 * Limits: no groups, no dilation.
 */
#include "layers/deconvolutional.h"

#include "core/memory.h"
#include "core/network.h"
#include "math/conv_backward.h"

#include <stdio.h>
#include <string.h>

#define S dn_deconvolutional_options
static const dn_option options[] = {
    DN_INT(S, filters, "filters", 1, 1, 1 << 24, "output channels"),
    DN_INT(S, size, "size", 1, 1, 1024, "filter width and height"),
    DN_INT(S, stride, "stride", 1, 1, 1024, "enlargement in both directions"),
    DN_FLAG(S, pad, "pad", 0, "1: padding is size/2"),
    DN_INT(S, padding, "padding", 0, 0, 1024, "cut from each side where pad=0"),
    DN_INT(S, output_padding, "output_padding", 0, 0, 1023,
           "rows and columns added at the end, fewer than stride"),
    DN_CHOICE(S, activation, "activation", DN_ACTIVATION_logistic, dn_activation_names,
              "what follows"),
    DN_FLAG(S, batch_normalize, "batch_normalize", 0, "batch normalisation instead of a bias"),
    DN_OPTIONS_END,
};
#undef S

dn_conv_args dn_deconvolutional_args(const dn_layer *layer, int32_t filters, int32_t images,
                                     int32_t threads)
{
    const dn_deconvolutional *state = layer->state;
    return (dn_conv_args){
        .geometry = state->geometry,
        .images = images,
        .groups = 1,
        .filters = filters,
        .weights = state->weights->data,
        .activation = DN_ACTIVATION_linear,
        .accumulate = true,
        .threads = threads,
    };
}

static int64_t workspace(const dn_layer *layer, const dn_network *network)
{
    const int32_t filters = dn_input_shape(layer, network, 0)->c;
    const dn_conv_args args =
        dn_deconvolutional_args(layer, filters, layer->out.n, network->options.threads);
    int64_t most = dn_conv_backward_input_workspace(&args);
    if (layer->trains) {
        const int64_t weights = dn_conv_backward_weights_workspace(&args);
        const int64_t input = dn_conv_workspace(&args, false);
        if (weights > most) most = weights;
        if (input > most) most = input;
    }
    const int64_t stage = dn_stage_workspace(layer);
    return most > stage ? most : stage;
}

static dn_status add_params(dn_layer *layer, const dn_network *network)
{
    const dn_deconvolutional_options *o = layer->options;
    dn_deconvolutional *state = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    const dn_param weights = {
        .name = "weights",
        .count = (int64_t)in->c * o->filters * o->size * o->size,
        .outputs = in->c,
        .flags = DN_PARAM_DECAY,
        .init = DN_INIT_NORMAL,
        .init_value = sqrtf(2.0f * (float)(o->stride * o->stride) /
                            ((float)(o->size * o->size) * (float)in->c)),
    };
    state->stage.batch_normalize = o->batch_normalize;
    state->stage.activation = (dn_activation)o->activation;
    DN_TRY(dn_stage_add_biases(layer, network, &state->stage, o->filters));
    DN_TRY(dn_stage_add_norm(layer, network, &state->stage, o->filters));
    DN_TRY(dn_add_param(layer, network, weights));
    state->weights = dn_find_param(layer, "weights");
    return DN_OK;
}

/* The products' sizes fit the types that hold them. */
static dn_status check_products(const dn_layer *layer, const dn_network *network)
{
    const dn_deconvolutional_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    int64_t rows, floats;
    if (dn_product(&rows, INT32_MAX, o->filters, o->size, o->size, 1) != DN_OK ||
        dn_product(&floats, INT32_MAX, in->h, in->w, 1, 1) != DN_OK ||
        dn_product(&floats, INT64_C(1) << 33, rows, in->h, in->w, 1) != DN_OK ||
        dn_product(&floats, INT64_C(1) << 33, rows, in->c, 1, 1) != DN_OK)
        return dn_layer_fail(layer, network, "%d filters of %d x %d x %d on %d x %d are too large",
                             o->filters, o->size, o->size, in->c, in->w, in->h);
    return DN_OK;
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_deconvolutional_options *o = layer->options;
    dn_deconvolutional *state = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    if (o->output_padding >= o->stride && o->output_padding > 0)
        return dn_layer_fail(layer, network, "output_padding=%d must be less than stride=%d",
                             o->output_padding, o->stride);
    const int32_t padding = o->pad ? o->size / 2 : o->padding;
    const int64_t more = (int64_t)o->size - 2 * padding + o->output_padding;
    const int64_t out_h = (in->h - 1) * (int64_t)o->stride + more;
    const int64_t out_w = (in->w - 1) * (int64_t)o->stride + more;
    DN_TRY(dn_set_output(layer, network, o->filters, out_h, out_w));
    DN_TRY(check_products(layer, network));
    state->geometry = (dn_conv_geometry){
        .c = o->filters,
        .h = layer->out.h,
        .w = layer->out.w,
        .size = o->size,
        .stride_x = o->stride,
        .stride_y = o->stride,
        .pad = padding,
        .dilation = 1,
        .out_h = in->h,
        .out_w = in->w,
    };
    DN_TRY(add_params(layer, network));
    layer->workspace_floats = workspace(layer, network);
    layer->saved_floats = dn_stage_saved(layer, &state->stage);
    return DN_OK;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    dn_deconvolutional *state = layer->state;
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t floats = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    float *z = dn_stage_target(layer, pass, &state->stage);
    dn_conv_args args = dn_deconvolutional_args(layer, in->c, dn_live(layer, pass), pass->threads);
    args.workspace = pass->workspace;
    memset(z, 0, (size_t)floats * sizeof *z);
    dn_conv_backward_input(&args, in->data, z);
    dn_stage_forward(layer, pass, &state->stage);
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_deconvolutional *state = layer->state;
    const dn_tensor *in = dn_input(layer, pass, 0);
    dn_stage_backward(layer, pass, &state->stage);
    dn_conv_args args = dn_deconvolutional_args(layer, in->c, dn_live(layer, pass), pass->threads);
    args.in = layer->out.grad;
    args.out = in->grad;
    args.workspace = pass->workspace;
    if (state->weights->grad) dn_conv_backward_weights(&args, in->data, state->weights->grad);
    if (in->grad) dn_conv_forward(&args);
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_deconvolutional_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0), *out = &layer->out;
    snprintf(text, size, "deconv%5d %2d x%2d /%2d  %4d x%4d x%4d   ->  %4d x%4d x%4d", o->filters,
             o->size, o->size, o->stride, in->w, in->h, in->c, out->w, out->h, out->c);
}

const dn_layer_type dn_deconvolutional_layer = {
    .name = "deconvolutional",
    .aliases = {"deconv"},
    .options_size = sizeof(dn_deconvolutional_options),
    .options = options,
    .state_size = sizeof(dn_deconvolutional),
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
