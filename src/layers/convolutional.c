/* [convolutional]: a convolution, batch normalisation or bias, an activation.
 *
 * out = f(scale * norm(W * in) + bias); cross-correlation, symmetric zero padding, groups,
 * dilation. Weights are (filters, c / groups, size, size). Forward is math/conv.h; where the layer
 * does not train, batch normalisation is folded into the factor and shift of its last step and the
 * weights are packed once. Backward is im2col and the two transposed products.
 * Dilation scales the padding of pad=1; the output size is the true dilated one.
 */
#include "core/layer.h"
#include "core/network.h"
#include "math/activation.h"
#include "math/batchnorm.h"
#include "math/conv.h"
#include "math/gemm.h"
#include "math/im2col.h"

#include <stdio.h>

typedef struct dn_convolutional_options {
    int32_t filters, size, stride, stride_x, stride_y, padding, groups, dilation, activation;
    bool pad, batch_normalize, flipped;
} dn_convolutional_options;

typedef struct dn_convolutional {
    dn_conv_geometry geometry; /* of one group */
    dn_param *biases, *scales, *mean, *variance, *weights;
    float *pre;        /* (n, filters, out_h, out_w) before norm and activation, training only */
    float *batch_mean; /* (filters) */
    float *batch_variance;
    uint64_t packed_version; /* of the weights that layer->cache holds; 0: none */
} dn_convolutional;

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

static dn_status add_params(dn_layer *layer, const dn_network *network)
{
    const dn_convolutional_options *o = layer->options;
    dn_convolutional *state = layer->state;
    const int32_t n = o->filters;
    const int64_t fan_in = (int64_t)state->geometry.c * o->size * o->size;
    const dn_param biases = {.name = "biases", .count = n, .outputs = n};
    dn_param norm = {.count = n, .outputs = n, .flags = DN_PARAM_NORM, .init_value = 1};
    const dn_param weights = {.name = "weights",
                              .count = n * fan_in,
                              .outputs = n,
                              .flags = DN_PARAM_DECAY,
                              .init = DN_INIT_UNIFORM,
                              .init_value = sqrtf(2.0f / (float)fan_in)};
    DN_TRY(dn_add_param(layer, network, biases));
    if (o->batch_normalize) {
        norm.name = "scales";
        DN_TRY(dn_add_param(layer, network, norm));
        norm.flags |= DN_PARAM_STATISTIC;
        norm.name = "mean";
        norm.init_value = 0;
        DN_TRY(dn_add_param(layer, network, norm));
        norm.name = "variance";
        norm.init_value = 1;
        DN_TRY(dn_add_param(layer, network, norm));
    }
    DN_TRY(dn_add_param(layer, network, weights));
    state->biases = dn_find_param(layer, "biases");
    state->scales = dn_find_param(layer, "scales");
    state->mean = dn_find_param(layer, "mean");
    state->variance = dn_find_param(layer, "variance");
    state->weights = dn_find_param(layer, "weights");
    return DN_OK;
}

static bool needs_pre(const dn_convolutional_options *o)
{
    return o->batch_normalize || dn_activation_needs_input((dn_activation)o->activation);
}

/* The forward product of one group of one image: sizes only. */
static dn_gemm_args product(const dn_layer *layer, int32_t threads)
{
    const dn_convolutional_options *o = layer->options;
    const dn_conv_geometry *g = &((const dn_convolutional *)layer->state)->geometry;
    return (dn_gemm_args){.m = o->filters / o->groups,
                          .n = g->out_h * g->out_w,
                          .k = g->c * g->size * g->size,
                          .alpha = 1,
                          .threads = threads};
}

/* dW (m, k) += grad (m, n) * cols (k, n)': sizes only. */
static dn_gemm_args weights_product(const dn_layer *layer, int32_t threads)
{
    const dn_gemm_args forward = product(layer, threads);
    dn_gemm_args args = forward;
    args.trans_b = true;
    args.n = forward.k;
    args.k = forward.n;
    args.lda = args.ldb = forward.n;
    args.ldc = forward.k;
    args.beta = 1;
    return args;
}

/* dcols (k, n) = W (m, k)' * grad (m, n): sizes only. */
static dn_gemm_args inputs_product(const dn_layer *layer, int32_t threads)
{
    const dn_gemm_args forward = product(layer, threads);
    dn_gemm_args args = forward;
    args.trans_a = true;
    args.m = forward.k;
    args.k = forward.m;
    args.lda = forward.k;
    args.ldb = args.ldc = forward.n;
    return args;
}

static int64_t product_workspace(const dn_layer *layer, int32_t threads)
{
    const dn_gemm_args products[3] = {product(layer, threads), weights_product(layer, threads),
                                      inputs_product(layer, threads)};
    int64_t most = 0;
    for (int32_t i = 0; i < (layer->trains ? 3 : 1); i++) {
        const int64_t floats = dn_gemm_workspace(&products[i]);
        if (floats > most) most = floats;
    }
    return most;
}

/* The forward convolution of `images`, without its last step. */
static dn_conv_args convolution(const dn_layer *layer, int32_t images, int32_t threads)
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

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_convolutional_options *o = layer->options;
    dn_convolutional *state = layer->state;
    const int32_t threads = network->options.threads;
    DN_TRY(check(layer, network));
    DN_TRY(set_geometry(layer, network));
    DN_TRY(add_params(layer, network));
    const int32_t images = layer->out.n;
    const dn_gemm_args args = product(layer, 1);
    const int64_t pixels = args.n, norm_floats = 2 * (int64_t)o->filters;
    const dn_conv_args forward = convolution(layer, images, threads);
    layer->cache = NULL;
    state->packed_version = 0;
    layer->cache_floats = layer->trains ? 0 : dn_conv_packed_floats(&forward);
    const int64_t convolving = dn_conv_workspace(&forward, !layer->trains);
    const int64_t backward = (int64_t)args.k * pixels + product_workspace(layer, threads);
    layer->workspace_floats =
        norm_floats + pixels + (convolving > backward || !layer->trains ? convolving : backward);
    layer->flops = 2 * layer->out.c * (int64_t)args.k * pixels;
    layer->saved_floats = 0;
    if (layer->trains && needs_pre(o))
        layer->saved_floats = images * dn_tensor_size(&layer->out) + norm_floats;
    return DN_OK;
}

/* 1x1, stride 1, no padding: the image is its own column matrix. */
static bool is_pointwise(const dn_conv_geometry *g)
{
    return g->size == 1 && g->stride_x == 1 && g->stride_y == 1 && g->pad == 0;
}

static dn_batchnorm norm_of(const dn_layer *layer, const dn_pass *pass)
{
    const dn_convolutional *state = layer->state;
    return (dn_batchnorm){.n = dn_live(layer, pass),
                          .c = layer->out.c,
                          .spatial = (int64_t)layer->out.h * layer->out.w,
                          .scales = state->scales ? state->scales->data : NULL,
                          .biases = state->biases->data,
                          .threads = pass->threads};
}

/* out = f(factor * z + shift), channel by channel; factor NULL: 1. */
static void finish(const dn_layer *layer, const dn_pass *pass, const float *z, const float *factor,
                   const float *shift)
{
    const dn_convolutional_options *o = layer->options;
    const int64_t spatial = (int64_t)layer->out.h * layer->out.w;
    const int64_t rows = (int64_t)dn_live(layer, pass) * layer->out.c;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t row = 0; row < rows; row++) {
        const int32_t c = (int32_t)(row % layer->out.c);
        const float *from = z + row * spatial;
        float *to = layer->out.data + row * spatial;
        const float f = factor ? factor[c] : 1.0f, s = shift[c];
        for (int64_t i = 0; i < spatial; i++) to[i] = f * from[i] + s;
        dn_activate_array((dn_activation)o->activation, to, to, spatial);
    }
}

/* Packs the weights if they have changed since. */
static void refresh_cache(dn_layer *layer, const dn_pass *pass)
{
    dn_convolutional *state = layer->state;
    if (!layer->cache || state->packed_version == pass->network->frozen_version) return;
    const dn_conv_args args = convolution(layer, 1, pass->threads);
    dn_conv_pack_weights(&args, layer->cache);
    state->packed_version = pass->network->frozen_version;
}

/* out = f(factor * (W * in) + shift) in one step, with the statistics of the parameters. */
static void forward_folded(const dn_layer *layer, const dn_pass *pass)
{
    const dn_convolutional_options *o = layer->options;
    const dn_convolutional *state = layer->state;
    float *factor = pass->workspace, *shift = factor + o->filters;
    dn_conv_args args = convolution(layer, dn_live(layer, pass), pass->threads);
    args.in = dn_input(layer, pass, 0)->data;
    args.out = layer->out.data;
    args.activation = (dn_activation)o->activation;
    args.shift = state->biases->data;
    args.workspace = shift + o->filters;
    if (o->batch_normalize) {
        const dn_batchnorm norm = norm_of(layer, pass);
        dn_batchnorm_fold(&norm, state->mean->data, state->variance->data, factor, shift);
        args.scale = factor;
        args.shift = shift;
    }
    dn_conv_forward(&args);
}

/* The same in steps, which keep what backward needs. */
static void forward_training(dn_layer *layer, const dn_pass *pass)
{
    const dn_convolutional_options *o = layer->options;
    dn_convolutional *state = layer->state;
    const dn_batchnorm norm = norm_of(layer, pass);
    float *factor = pass->workspace, *shift = factor + o->filters;
    state->pre = layer->saved;
    state->batch_mean = layer->saved + layer->out.n * dn_tensor_size(&layer->out);
    state->batch_variance = state->batch_mean + o->filters;
    dn_conv_args args = convolution(layer, dn_live(layer, pass), pass->threads);
    args.in = dn_input(layer, pass, 0)->data;
    args.out = state->pre;
    args.workspace = shift + o->filters;
    dn_conv_forward(&args);
    if (!o->batch_normalize) {
        finish(layer, pass, state->pre, NULL, state->biases->data);
        return;
    }
    dn_batchnorm_statistics(&norm, state->pre, state->batch_mean, state->batch_variance,
                            state->mean->data, state->variance->data);
    dn_batchnorm_fold(&norm, state->batch_mean, state->batch_variance, factor, shift);
    finish(layer, pass, state->pre, factor, shift);
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    refresh_cache(layer, pass);
    if (pass->training && needs_pre(layer->options)) {
        forward_training(layer, pass);
    } else {
        forward_folded(layer, pass);
    }
    return DN_OK;
}

/* grad *= f' for one row of one channel; `pre` is scratch for a row. */
static void backward_activation_row(const dn_layer *layer, const dn_batchnorm *norm, int64_t row,
                                    const float *factor, const float *shift, float *pre)
{
    const dn_convolutional_options *o = layer->options;
    const dn_convolutional *state = layer->state;
    const dn_activation kind = (dn_activation)o->activation;
    const int64_t at = row * norm->spatial;
    const int32_t c = (int32_t)(row % norm->c);
    const float *x = NULL;
    if (dn_activation_needs_input(kind)) {
        const float f = o->batch_normalize ? factor[c] : 1.0f;
        const float s = o->batch_normalize ? shift[c] : norm->biases[c];
        for (int64_t i = 0; i < norm->spatial; i++) pre[i] = f * state->pre[at + i] + s;
        x = pre;
    }
    dn_activation_gradient_array(kind, x, layer->out.data + at, layer->out.grad + at,
                                 norm->spatial);
}

/* out.grad becomes the gradient at the product's output; biases and scales get theirs. */
static void backward_outputs(const dn_layer *layer, const dn_pass *pass)
{
    const dn_convolutional_options *o = layer->options;
    dn_convolutional *state = layer->state;
    const dn_batchnorm norm = norm_of(layer, pass);
    float *factor = pass->workspace, *shift = factor + norm.c;
    if (o->batch_normalize)
        dn_batchnorm_fold(&norm, state->batch_mean, state->batch_variance, factor, shift);
    const bool shares_row = dn_activation_needs_input((dn_activation)o->activation);
#pragma omp parallel for num_threads(shares_row ? 1 : pass->threads)
    for (int64_t row = 0; row < (int64_t)norm.n * norm.c; row++)
        backward_activation_row(layer, &norm, row, factor, shift, shift + norm.c);
    if (o->batch_normalize)
        dn_batchnorm_backward(&norm, state->pre, state->batch_mean, state->batch_variance,
                              layer->out.grad, state->scales->grad, state->biases->grad);
    else
        dn_bias_backward(&norm, layer->out.grad, state->biases->grad);
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_convolutional_options *o = layer->options;
    const dn_convolutional *state = layer->state;
    const dn_conv_geometry *g = &state->geometry;
    const dn_tensor *in = dn_input(layer, pass, 0);
    const bool pointwise = is_pointwise(g);
    backward_outputs(layer, pass);
    dn_gemm_args weights = weights_product(layer, pass->threads);
    dn_gemm_args inputs = inputs_product(layer, pass->threads);
    const int64_t columns = (int64_t)weights.n * weights.k,
                  filters = weights.m * (int64_t)weights.n;
    const int64_t group_in = (int64_t)g->c * g->h * g->w,
                  group_out = weights.m * (int64_t)weights.k;
    float *cols = pass->workspace;
    weights.workspace = inputs.workspace = cols + columns;
    inputs.beta = pointwise ? 1.0f : 0.0f;
    for (int32_t i = 0; i < dn_live(layer, pass) * o->groups; i++) {
        const int64_t weights_at = i % o->groups * filters;
        const float *image = in->data + i * group_in;
        if (!pointwise) dn_im2col(g, image, cols);
        weights.a = inputs.b = layer->out.grad + i * group_out;
        weights.b = pointwise ? image : cols;
        weights.c = state->weights->grad + weights_at;
        dn_gemm(&weights);
        if (!in->grad) continue;
        inputs.a = state->weights->data + weights_at;
        inputs.c = pointwise ? in->grad + i * group_in : cols;
        dn_gemm(&inputs);
        if (!pointwise) dn_col2im(g, cols, in->grad + i * group_in);
    }
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
