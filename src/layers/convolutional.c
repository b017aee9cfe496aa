/* [convolutional]: a convolution, batch normalisation or bias, an activation.
 *
 * out = f(scale * norm(W * in) + bias); cross-correlation, symmetric zero padding, groups,
 * dilation. Weights are (filters, c / groups, size, size). Forward is math/conv.h; where the layer
 * does not train, batch normalisation is folded into the factor and shift of its last step and the
 * weights are packed once. Backward is math/conv_backward.h.
 * Dilation scales the padding of pad=1; the output size is the true dilated one.
 */
#include "layers/convolutional.h"

#include "core/memory.h"
#include "core/network.h"
#include "math/conv_backward.h"

#include <stdio.h>

#define S dn_convolutional_options
static const dn_option options[] = {
    DN_INT(S, filters, "filters", 1, 1, 1 << 24, "output channels"),
    DN_INT(S, size, "size", 1, 1, 1024, "filter width and height"),
    DN_INT(S, stride, "stride", 1, 1, 1024, "step in both directions"),
    DN_INT(S, stride_x, "stride_x", 0, 0, 1024, "horizontal step; 0: stride"),
    DN_INT(S, stride_y, "stride_y", 0, 0, 1024, "vertical step; 0: stride"),
    DN_FLAG(S, pad, "pad", 0, "1: padding is size/2"),
    DN_INT(S, padding, "padding", 0, 0, 1024, "zeros on each side where pad=0"),
    DN_INT(S, groups, "groups", 1, 1, 1 << 24, "groups of channels"),
    DN_INT(S, dilation, "dilation", 1, 1, 1024, "distance between filter taps"),
    DN_CHOICE(S, activation, "activation", DN_ACTIVATION_logistic, dn_activation_names,
              "what follows"),
    DN_FLAG(S, batch_normalize, "batch_normalize", 0, "batch normalisation instead of a bias"),
    DN_FLAG(S, flipped, "flipped", 0, "accepted only as 0"),
    DN_IGNORED("binary", "accepted; no effect"),
    DN_IGNORED("xnor", "accepted; no effect"),
    DN_IGNORED("dot", "accepted; no effect"),
    DN_OPTIONS_END,
};
#undef S

static dn_status check(const dn_layer *layer, const dn_network *network)
{
    const dn_convolutional_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    if (in->c % o->groups != 0 || o->filters % o->groups != 0)
        return dn_layer_fail(layer, network,
                             "groups=%d must divide the %d input channels and filters=%d",
                             o->groups, in->c, o->filters);
    if (o->flipped) return dn_layer_fail(layer, network, "flipped=1 is not supported");
    return DN_OK;
}

/* The products' sizes fit the types that hold them. */
static dn_status check_products(const dn_layer *layer, const dn_network *network)
{
    const dn_convolutional_options *o = layer->options;
    const dn_conv_geometry *g = &((const dn_convolutional *)layer->state)->geometry;
    int64_t fan_in, floats;
    if (dn_product(&fan_in, INT32_MAX, g->c, o->size, o->size, 1) != DN_OK ||
        dn_product(&floats, INT32_MAX, g->out_h, g->out_w, 1, 1) != DN_OK ||
        dn_product(&floats, INT64_C(1) << 33, fan_in, g->out_h, g->out_w, 1) != DN_OK ||
        dn_product(&floats, INT64_C(1) << 33, fan_in, o->filters, 1, 1) != DN_OK)
        return dn_layer_fail(layer, network, "%d filters of %d x %d x %d on %d x %d are too large",
                             o->filters, o->size, o->size, g->c, g->out_w, g->out_h);
    return DN_OK;
}

static dn_status add_params(dn_layer *layer, const dn_network *network)
{
    const dn_convolutional_options *o = layer->options;
    dn_convolutional *state = layer->state;
    const int32_t n = o->filters;
    const int64_t fan_in = (int64_t)state->geometry.c * o->size * o->size;
    const dn_param weights = {.name = "weights",
                              .count = n * fan_in,
                              .outputs = n,
                              .flags = DN_PARAM_DECAY,
                              .init = DN_INIT_UNIFORM,
                              .init_value = sqrtf(2.0f / (float)fan_in)};
    state->stage.batch_normalize = o->batch_normalize;
    state->stage.activation = (dn_activation)o->activation;
    DN_TRY(dn_stage_add_biases(layer, network, &state->stage, n));
    DN_TRY(dn_stage_add_norm(layer, network, &state->stage, n));
    DN_TRY(dn_add_param(layer, network, weights));
    state->weights = dn_find_param(layer, "weights");
    return DN_OK;
}

dn_conv_args dn_convolutional_args(const dn_layer *layer, int32_t images, int32_t threads)
{
    const dn_convolutional_options *o = layer->options;
    const dn_convolutional *state = layer->state;
    return (dn_conv_args){
        .geometry = state->geometry,
        .images = images,
        .groups = o->groups,
        .filters = o->filters / o->groups,
        .weights = state->weights->data,
        .packed = layer->cache,
        .activation = DN_ACTIVATION_linear,
        .threads = threads,
    };
}

static dn_status set_geometry(dn_layer *layer, const dn_network *network)
{
    const dn_convolutional_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    dn_conv_geometry *g = &((dn_convolutional *)layer->state)->geometry;
    *g = (dn_conv_geometry){.c = in->c / o->groups, .h = in->h, .w = in->w, .size = o->size};
    g->stride_x = o->stride_x ? o->stride_x : o->stride;
    g->stride_y = o->stride_y ? o->stride_y : o->stride;
    g->dilation = o->size == 1 ? 1 : o->dilation;
    g->pad = o->pad ? o->size / 2 * g->dilation : o->padding;
    const int64_t extent = (int64_t)g->dilation * (o->size - 1) + 1;
    const int64_t room_x = in->w + 2 * (int64_t)g->pad - extent;
    const int64_t room_y = in->h + 2 * (int64_t)g->pad - extent;
    if (room_x < 0 || room_y < 0)
        return dn_layer_fail(layer, network, "a filter of %lld pixels does not fit into %d x %d",
                             (long long)extent, in->w, in->h);
    DN_TRY(dn_set_output(layer, network, o->filters, room_y / g->stride_y + 1,
                         room_x / g->stride_x + 1));
    g->out_h = layer->out.h;
    g->out_w = layer->out.w;
    return DN_OK;
}

static int64_t workspace(const dn_layer *layer, const dn_network *network)
{
    const dn_conv_args args = dn_convolutional_args(layer, layer->out.n, network->options.threads);
    const int64_t forward = dn_conv_workspace(&args, !layer->trains);
    if (!layer->trains) return forward;
    const int64_t weights = dn_conv_backward_weights_workspace(&args);
    const int64_t input = dn_conv_backward_input_workspace(&args);
    const int64_t backward = weights > input ? weights : input;
    return forward > backward ? forward : backward;
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    dn_convolutional *state = layer->state;
    DN_TRY(check(layer, network));
    DN_TRY(set_geometry(layer, network));
    DN_TRY(check_products(layer, network));
    DN_TRY(add_params(layer, network));
    const dn_conv_args args = dn_convolutional_args(layer, 1, 1);
    layer->cache = NULL;
    state->packed_version = 0;
    layer->cache_floats = layer->trains ? 0 : dn_conv_packed_floats(&args);
    layer->workspace_floats = dn_stage_workspace(layer) + workspace(layer, network);
    layer->flops = 2 * (int64_t)layer->out.h * layer->out.w * dn_conv_packed_floats(&args);
    layer->saved_floats = dn_stage_saved(layer, &state->stage);
    return DN_OK;
}

/* Packs the weights if they have changed since. */
static void refresh_cache(dn_layer *layer, const dn_pass *pass)
{
    dn_convolutional *state = layer->state;
    if (!layer->cache || state->packed_version == pass->network->frozen_version) return;
    const dn_conv_args args = dn_convolutional_args(layer, 1, pass->threads);
    dn_conv_pack_weights(&args, layer->cache);
    state->packed_version = pass->network->frozen_version;
}

/* out = f(factor * (W * in) + shift) in one step, with the statistics of the parameters. */
static void forward_folded(const dn_layer *layer, const dn_pass *pass)
{
    const dn_convolutional *state = layer->state;
    const dn_output_stage *stage = &state->stage;
    float *factor = pass->workspace, *shift = factor + layer->out.c;
    dn_conv_args args = dn_convolutional_args(layer, dn_live(layer, pass), pass->threads);
    args.in = dn_input(layer, pass, 0)->data;
    args.out = layer->out.data;
    args.activation = stage->activation;
    args.shift = stage->biases->data;
    args.workspace = shift + layer->out.c;
    if (stage->batch_normalize) {
        dn_stage_fold(layer, stage, factor, shift);
        args.scale = factor;
        args.shift = shift;
    }
    dn_conv_forward(&args);
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    dn_convolutional *state = layer->state;
    refresh_cache(layer, pass);
    float *z = dn_stage_target(layer, pass, &state->stage);
    if (z == layer->out.data) { /* nothing to keep for backward */
        forward_folded(layer, pass);
        return DN_OK;
    }
    dn_conv_args args = dn_convolutional_args(layer, dn_live(layer, pass), pass->threads);
    args.in = dn_input(layer, pass, 0)->data;
    args.out = z;
    args.workspace = pass->workspace;
    dn_conv_forward(&args);
    dn_stage_forward(layer, pass, &state->stage);
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_convolutional *state = layer->state;
    const dn_tensor *in = dn_input(layer, pass, 0);
    dn_stage_backward(layer, pass, &state->stage);
    dn_conv_args args = dn_convolutional_args(layer, dn_live(layer, pass), pass->threads);
    args.in = in->data;
    args.workspace = pass->workspace;
    if (state->weights->grad)
        dn_conv_backward_weights(&args, layer->out.grad, state->weights->grad);
    if (in->grad) dn_conv_backward_input(&args, layer->out.grad, in->grad);
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_convolutional_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0), *out = &layer->out;
    snprintf(text, size, "conv  %5d %2d x%2d /%2d  %4d x%4d x%4d   ->  %4d x%4d x%4d  %5.3f BFLOPs",
             o->filters, o->size, o->size, o->stride_x ? o->stride_x : o->stride, in->w, in->h,
             in->c, out->w, out->h, out->c, (double)layer->flops / 1e9);
}

const dn_layer_type dn_convolutional_layer = {
    .name = "convolutional",
    .aliases = {"conv"},
    .options_size = sizeof(dn_convolutional_options),
    .options = options,
    .state_size = sizeof(dn_convolutional),
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
