/* [shortcut]: the layer before plus one or several others, then an activation.
 *
 * out = f(sum over k of factor[k][channel] * input k). Without weights the factors are alpha for
 * the layer before (input 0) and beta for those of `from`; with weights they are learned, one an
 * input (per_feature, also called per_layer) or one an input and channel (per_channel), used as
 * they are or normalised over the inputs: relu (also called avg_relu): w+ / (sum w+ + 1e-4);
 * softmax: e^w / (sum e^w + 1e-4) after the maximum is subtracted. Sizes may differ:
 * math/shortcut.h.
 */
#include "layers/shortcut.h"

#include "core/memory.h"
#include "core/network.h"

#include <stdio.h>
#include <string.h>

static const char *const weights_types[] = {"none", "per_feature", "per_layer", "per_channel",
                                            NULL};
static const char *const normalizations[] = {"none", "relu", "avg_relu", "softmax", NULL};

#define S dn_shortcut_options
static const dn_option options[] = {
    DN_INTS(S, from, "from", 0, 0, "layers to add; negative: counted back from here"),
    DN_CHOICE(S, activation, "activation", DN_ACTIVATION_linear, dn_activation_names,
              "what follows"),
    DN_FLOAT(S, alpha, "alpha", 1, -1e6, 1e6, "factor of the layer before"),
    DN_FLOAT(S, beta, "beta", 1, -1e6, 1e6, "factor of the other layers"),
    DN_CHOICE(S, weights_type, "weights_type", DN_WEIGHTS_NONE, weights_types,
              "learned factors instead of alpha and beta"),
    DN_CHOICE(S, weights_normalization, "weights_normalization", DN_NORMALIZATION_NONE,
              normalizations, "how the learned factors are made from the weights"),
    DN_OPTIONS_END,
};
#undef S

static dn_status connect(dn_layer *layer, dn_network *network)
{
    const dn_shortcut_options *o = layer->options;
    dn_shortcut *state = layer->state;
    if (o->from.count == 0) return dn_layer_fail(layer, network, "from= is missing");
    state->overlaps = dn_alloc(((size_t)o->from.count + 1) * sizeof *state->overlaps);
    if (!state->overlaps) return DN_ERROR_MEMORY;
    DN_TRY(dn_add_input(layer, network, -1));
    for (int32_t i = 0; i < o->from.count; i++)
        DN_TRY(dn_add_input(layer, network, o->from.items[i]));
    return DN_OK;
}

static void destroy(dn_layer *layer)
{
    dn_shortcut *state = layer->state;
    dn_free(state->overlaps);
}

static int32_t ratio(int32_t large, int32_t small)
{
    return large < small ? 1 : large / small;
}

static int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static dn_status set_overlap(dn_layer *layer, const dn_network *network, int32_t k)
{
    const dn_shortcut *state = layer->state;
    const dn_tensor *out = &layer->out, *in = dn_input_shape(layer, network, k);
    const int32_t stride = ratio(in->w, out->w), sample = ratio(out->w, in->w);
    if (stride != ratio(in->h, out->h) || sample != ratio(out->h, in->h))
        return dn_layer_fail(layer, network, "layer %d is %d x %d: no common step to %d x %d",
                             layer->inputs[k], in->w, in->h, out->w, out->h);
    state->overlaps[k] = (dn_overlap){.h = in->h,
                                      .w = in->w,
                                      .min_c = smaller(in->c, out->c),
                                      .min_h = smaller(in->h, out->h),
                                      .min_w = smaller(in->w, out->w),
                                      .stride = stride,
                                      .sample = sample};
    return DN_OK;
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_shortcut_options *o = layer->options;
    dn_shortcut *state = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    DN_TRY(dn_set_output(layer, network, in->c, in->h, in->w));
    for (int32_t k = 0; k < layer->input_count; k++) DN_TRY(set_overlap(layer, network, k));
    state->columns = o->weights_type == DN_WEIGHTS_PER_CHANNEL ? in->c : 1;
    if (o->weights_type != DN_WEIGHTS_NONE) {
        const dn_param weights = {.name = "weights",
                                  .count = (int64_t)layer->input_count * state->columns,
                                  .outputs = layer->input_count,
                                  .flags = DN_PARAM_DECAY,
                                  .init_value = 1};
        DN_TRY(dn_add_param(layer, network, weights));
        state->weights = dn_find_param(layer, "weights");
    }
    layer->workspace_floats = 2 * (int64_t)layer->input_count * state->columns + in->c;
    if (layer->trains && dn_activation_needs_input((dn_activation)o->activation))
        layer->saved_floats = layer->out.n * dn_tensor_size(&layer->out); /* the sum */
    return DN_OK;
}

/* factors (inputs, columns) */
static void find_factors(const dn_layer *layer, float *factors)
{
    const dn_shortcut_options *o = layer->options;
    const dn_shortcut *state = layer->state;
    const int32_t inputs = layer->input_count, columns = state->columns;
    if (!state->weights) {
        for (int32_t k = 0; k < inputs; k++) factors[k] = k == 0 ? o->alpha : o->beta;
        return;
    }
    memcpy(factors, state->weights->data, (size_t)state->weights->count * sizeof *factors);
    if (o->weights_normalization == DN_NORMALIZATION_NONE) return;
    for (int32_t c = 0; c < columns; c++)
        dn_shortcut_normalize(o->weights_normalization == DN_NORMALIZATION_SOFTMAX, factors + c,
                              inputs, columns);
}

static bool same_plane(const dn_overlap *overlap, const dn_tensor *out)
{
    return overlap->h == out->h && overlap->w == out->w;
}

/* sum += factor * in: one plane. */
static void add_plane(const dn_overlap *overlap, const dn_tensor *out, float factor,
                      const float *in, float *sum)
{
    const int32_t h = out->h, w = out->w;
    if (same_plane(overlap, out)) {
        for (int32_t i = 0; i < h * w; i++) sum[i] += factor * in[i];
        return;
    }
    for (int32_t y = 0; y < h; y++)
        for (int32_t x = 0; x < w; x++) {
            const int32_t at = dn_overlap_source(overlap, 0, y, x);
            if (at >= 0) sum[y * w + x] += factor * in[at];
        }
}

/* in_grad += factor * grad: the same plane, backwards. */
static void return_plane(const dn_overlap *overlap, const dn_tensor *out, float factor,
                         const float *grad, float *in_grad)
{
    const int32_t h = out->h, w = out->w;
    if (same_plane(overlap, out)) {
        for (int32_t i = 0; i < h * w; i++) in_grad[i] += factor * grad[i];
        return;
    }
    for (int32_t y = 0; y < h; y++)
        for (int32_t x = 0; x < w; x++) {
            const int32_t at = dn_overlap_source(overlap, 0, y, x);
            if (at >= 0) in_grad[at] += factor * grad[y * w + x];
        }
}

/* The factor's gradient from one plane. */
static double dot_plane(const dn_overlap *overlap, const dn_tensor *out, const float *grad,
                        const float *in)
{
    double sum = 0;
    for (int32_t y = 0; y < out->h; y++)
        for (int32_t x = 0; x < out->w; x++) {
            const int32_t at = dn_overlap_source(overlap, 0, y, x);
            if (at >= 0) sum += (double)grad[y * out->w + x] * (double)in[at];
        }
    return sum;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_shortcut_options *o = layer->options;
    const dn_shortcut *state = layer->state;
    const dn_tensor *out = &layer->out;
    const int32_t plane = out->h * out->w;
    float *factors = pass->workspace;                                        /* (inputs, columns) */
    float *sums = pass->training && layer->saved ? layer->saved : out->data; /* (n, c, h, w) */
    find_factors(layer, factors);
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t row = 0; row < (int64_t)dn_live(layer, pass) * out->c; row++) {
        const int32_t c = (int32_t)(row % out->c), column = c % state->columns;
        const float *first = dn_input(layer, pass, 0)->data + row * plane;
        float *sum = sums + row * plane;
        for (int32_t i = 0; i < plane; i++) sum[i] = factors[column] * first[i];
        for (int32_t k = 1; k < layer->input_count; k++) {
            const dn_tensor *in = dn_input(layer, pass, k);
            if (c >= in->c) continue;
            const int64_t at = row / out->c * dn_tensor_size(in) + (int64_t)c * in->h * in->w;
            add_plane(&state->overlaps[k], out, factors[k * state->columns + column], in->data + at,
                      sum);
        }
        dn_activate_array((dn_activation)o->activation, sum, out->data + row * plane, plane);
    }
    return DN_OK;
}

static void backward_activation(const dn_layer *layer, const dn_pass *pass)
{
    const dn_shortcut_options *o = layer->options;
    const dn_tensor *out = &layer->out;
    const int32_t plane = out->h * out->w;
    if (o->activation == DN_ACTIVATION_linear) return;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t row = 0; row < (int64_t)dn_live(layer, pass) * out->c; row++)
        dn_activation_gradient_array((dn_activation)o->activation,
                                     layer->saved ? layer->saved + row * plane : NULL,
                                     out->data + row * plane, out->grad + row * plane, plane);
}

/* Input k's gradient, and those of its factors, a channel each: grads (c) or NULL. */
static void backward_input(const dn_layer *layer, const dn_pass *pass, int32_t k,
                           const float *factors, float *grads)
{
    const dn_shortcut *state = layer->state;
    const dn_tensor *out = &layer->out, *in = dn_input(layer, pass, k);
    const dn_overlap *overlap = &state->overlaps[k];
#pragma omp parallel for num_threads(pass->threads)
    for (int32_t c = 0; c < overlap->min_c; c++) {
        double sum = 0;
        for (int32_t n = 0; n < dn_live(layer, pass); n++) {
            const float *grad = out->grad + ((int64_t)n * out->c + c) * out->h * out->w;
            const int64_t at = ((int64_t)n * in->c + c) * in->h * in->w;
            if (grads) sum += dot_plane(overlap, out, grad, in->data + at);
            if (in->grad)
                return_plane(overlap, out, factors[k * state->columns + c % state->columns], grad,
                             in->grad + at);
        }
        if (grads) grads[c] = (float)sum;
    }
}

/* column_grads (inputs, columns) += the factors' gradients, added up to the weights' columns. */
static void add_weight_grads(const dn_layer *layer, const float *factors, float *column_grads)
{
    const dn_shortcut_options *o = layer->options;
    const dn_shortcut *state = layer->state;
    const int32_t inputs = layer->input_count, columns = state->columns;
    if (o->weights_normalization != DN_NORMALIZATION_NONE)
        for (int32_t c = 0; c < columns; c++)
            dn_shortcut_normalize_backward(o->weights_normalization == DN_NORMALIZATION_SOFTMAX,
                                           state->weights->data + c, factors + c, column_grads + c,
                                           inputs, columns);
    for (int64_t i = 0; i < state->weights->count; i++) state->weights->grad[i] += column_grads[i];
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_shortcut *state = layer->state;
    const int32_t inputs = layer->input_count, columns = state->columns;
    const bool wants_weights = state->weights && state->weights->grad;
    float *factors = pass->workspace;                 /* (inputs, columns) */
    float *column_grads = factors + inputs * columns; /* (inputs, columns) */
    float *grads = column_grads + inputs * columns;   /* (c) */
    find_factors(layer, factors);
    backward_activation(layer, pass);
    for (int32_t k = 0; k < inputs; k++) {
        memset(grads, 0, (size_t)layer->out.c * sizeof *grads);
        backward_input(layer, pass, k, factors, wants_weights ? grads : NULL);
        for (int32_t column = 0; column < columns; column++) {
            double sum = 0;
            for (int32_t c = column; c < layer->out.c; c += columns) sum += (double)grads[c];
            column_grads[k * columns + column] = (float)sum;
        }
    }
    if (wants_weights) add_weight_grads(layer, factors, column_grads);
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_tensor *in = dn_input_shape(layer, network, 0), *out = &layer->out;
    size_t used = (size_t)snprintf(text, size, "res  ");
    for (int32_t k = 1; k < layer->input_count && used < size; k++)
        used +=
            (size_t)snprintf(text + used, size - used, "%s%3d", k > 1 ? "," : "", layer->inputs[k]);
    if (used < size)
        snprintf(text + used, size - used, "                %4d x%4d x%4d   ->  %4d x%4d x%4d",
                 in->w, in->h, in->c, out->w, out->h, out->c);
}

const dn_layer_type dn_shortcut_layer = {
    .name = "shortcut",
    .options_size = sizeof(dn_shortcut_options),
    .options = options,
    .state_size = sizeof(dn_shortcut),
    .connect = connect,
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
    .destroy = destroy,
};
