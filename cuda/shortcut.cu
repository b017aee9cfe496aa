/* [shortcut] on CUDA; partners and learned factors: math/shortcut.h.
 *
 * As on the CPU the workspace holds the factors (inputs, columns), their gradients (inputs,
 * columns) and those of one input's channels (c), all in device memory. Each input is one launch.
 * Limit: the gradient of a learned factor is summed by one thread a channel, in the CPU's order.
 */
#include "launch.h"

#include "layers/shortcut.h"

static bool is_softmax(const dn_layer *layer)
{
    const dn_shortcut_options *o = (const dn_shortcut_options *)layer->options;
    return o->weights_normalization == DN_NORMALIZATION_SOFTMAX;
}

static bool is_normalized(const dn_layer *layer)
{
    const dn_shortcut_options *o = (const dn_shortcut_options *)layer->options;
    return o->weights_normalization != DN_NORMALIZATION_NONE;
}

/* factors (inputs): alpha for the first input, beta for the others. */
static __global__ void set_factors(float alpha, float beta, float *factors, int64_t inputs)
{
    DN_GRID_STRIDE(k, inputs) factors[k] = k == 0 ? alpha : beta;
}

/* factors (inputs, columns) from the weights of the same shape. */
static __global__ void make_factors(bool normalized, bool softmax, const float *weights,
                                    float *factors, int32_t inputs, int32_t columns)
{
    DN_GRID_STRIDE(c, columns) {
        for (int32_t k = 0; k < inputs; k++) factors[k * columns + c] = weights[k * columns + c];
        if (normalized) dn_shortcut_normalize(softmax, factors + c, inputs, columns);
    }
}

static dn_status find_factors(const dn_layer *layer, float *factors)
{
    const dn_shortcut_options *o = (const dn_shortcut_options *)layer->options;
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    if (state->weights)
        DN_LAUNCH(make_factors, state->columns, is_normalized(layer), is_softmax(layer),
                  state->weights->data, factors, layer->input_count, state->columns);
    else
        DN_LAUNCH(set_factors, layer->input_count, o->alpha, o->beta, factors, layer->input_count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* An output element's place: its image, channel, row and column. */
typedef struct dn_place {
    int64_t n;
    int32_t c, y, x;
} dn_place;

typedef struct dn_shape {
    int32_t c, h, w;
} dn_shape;

static __device__ dn_place place_of(dn_shape shape, int64_t i)
{
    const int64_t row = i / shape.w, plane = row / shape.h;
    dn_place place;
    place.n = plane / shape.c;
    place.c = (int32_t)(plane - place.n * shape.c);
    place.y = (int32_t)(row - plane * shape.h);
    place.x = (int32_t)(i - row * shape.w);
    return place;
}

/* One of the tensors that are added. */
typedef struct dn_addend {
    dn_overlap overlap;
    float *values; /* (n, c, h, w): data or gradient */
    int32_t c;
    const float *factors; /* (columns) */
    int32_t columns;
} dn_addend;

/* Index of the element's partner in the addend's tensor; -1: none. */
static __device__ int64_t partner(const dn_addend *addend, dn_place at)
{
    const dn_overlap *o = &addend->overlap;
    const int32_t source = dn_overlap_source(o, at.c, at.y, at.x);
    return source < 0 ? -1 : (at.n * addend->c + at.c) * o->h * o->w + source;
}

/* sum = the first addend's part, or += another's. */
static __global__ void add_part(dn_addend addend, dn_shape shape, bool first, float *sum,
                                int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const dn_place at = place_of(shape, i);
        const int64_t source = partner(&addend, at);
        const float factor = addend.factors[at.c % addend.columns];
        if (first)
            sum[i] = factor * addend.values[i];
        else if (source >= 0)
            sum[i] += factor * addend.values[source];
    }
}

static __global__ void activate(dn_activation kind, const float *sum, float *out, int64_t count)
{
    DN_GRID_STRIDE(i, count) out[i] = dn_activate(kind, sum[i]);
}

static dn_addend addend_of(const dn_layer *layer, const dn_pass *pass, int32_t k, float *values)
{
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    const dn_addend addend = {state->overlaps[k], values, dn_input(layer, pass, k)->c,
                              pass->workspace + k * state->columns, state->columns};
    return addend;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_shortcut_options *o = (const dn_shortcut_options *)layer->options;
    const dn_tensor *out = &layer->out;
    const dn_shape shape = {out->c, out->h, out->w};
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(out);
    float *sums = pass->training && layer->saved ? layer->saved : out->data; /* (n, c, h, w) */
    DN_TRY(find_factors(layer, pass->workspace));
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_addend addend = addend_of(layer, pass, k, dn_input(layer, pass, k)->data);
        DN_LAUNCH(add_part, count, addend, shape, k == 0, sums, count);
        DN_CUDA_TRY(cudaGetLastError());
    }
    if (o->activation != DN_ACTIVATION_linear || sums != out->data)
        DN_LAUNCH(activate, count, (dn_activation)o->activation, sums, out->data, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* grad *= f', in place. */
static __global__ void through_activation(dn_activation kind, const float *sum, const float *out,
                                          float *grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) grad[i] *= dn_activation_gradient(kind, sum[i], out[i]);
}

/* The addend's gradient; each of its elements is the partner of one at most. */
static __global__ void add_gradient(dn_addend addend, dn_shape shape, const float *grad,
                                    int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const dn_place at = place_of(shape, i);
        const int64_t source = partner(&addend, at);
        if (source >= 0) addend.values[source] += addend.factors[at.c % addend.columns] * grad[i];
    }
}

/* channel_grads (c) = the gradients of the addend's factor, a channel each. */
static __global__ void dot_channels(dn_addend addend, dn_shape shape, const float *grad,
                                    int32_t images, float *channel_grads)
{
    DN_GRID_STRIDE(c, shape.c) {
        double sum = 0.0;
        for (int32_t n = 0; n < images; n++) {
            double plane_sum = 0.0;
            for (int32_t y = 0; y < shape.h; y++)
                for (int32_t x = 0; x < shape.w; x++) {
                    const dn_place at = {n, (int32_t)c, y, x};
                    const int64_t source = partner(&addend, at);
                    const int64_t i = (((int64_t)n * shape.c + c) * shape.h + y) * shape.w + x;
                    if (source >= 0) plane_sum += (double)grad[i] * (double)addend.values[source];
                }
            sum += plane_sum;
        }
        channel_grads[c] = (float)sum;
    }
}

/* column_grads (columns) = the channels' gradients, added up. */
static __global__ void add_columns(const float *channel_grads, int32_t channels,
                                   float *column_grads, int32_t columns)
{
    DN_GRID_STRIDE(column, columns) {
        double sum = 0.0;
        for (int64_t c = column; c < channels; c += columns) sum += (double)channel_grads[c];
        column_grads[column] = (float)sum;
    }
}

/* weight_grads += what the factors' gradients, all (inputs, columns), make of them. */
static __global__ void add_weight_gradient(bool normalized, bool softmax, const float *weights,
                                           const float *factors, float *column_grads,
                                           float *weight_grads, int32_t inputs, int32_t columns)
{
    DN_GRID_STRIDE(c, columns) {
        if (normalized)
            dn_shortcut_normalize_backward(softmax, weights + c, factors + c, column_grads + c,
                                           inputs, columns);
        for (int32_t k = 0; k < inputs; k++)
            weight_grads[k * columns + c] += column_grads[k * columns + c];
    }
}

/* column_grads of input k, from its data. */
static dn_status find_factor_gradient(const dn_layer *layer, const dn_pass *pass, int32_t k,
                                      float *column_grads, float *channel_grads)
{
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    const dn_shape shape = {layer->out.c, layer->out.h, layer->out.w};
    const dn_addend addend = addend_of(layer, pass, k, dn_input(layer, pass, k)->data);
    DN_LAUNCH(dot_channels, shape.c, addend, shape, layer->out.grad, dn_live(layer, pass),
              channel_grads);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(add_columns, state->columns, channel_grads, shape.c,
              column_grads + k * state->columns, state->columns);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_shortcut_options *o = (const dn_shortcut_options *)layer->options;
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    const dn_tensor *out = &layer->out;
    const dn_shape shape = {out->c, out->h, out->w};
    const int32_t inputs = layer->input_count, columns = state->columns;
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(out);
    const bool wants_weights = state->weights && state->weights->grad;
    float *factors = pass->workspace, *column_grads = factors + inputs * columns;
    DN_TRY(find_factors(layer, factors));
    if (o->activation != DN_ACTIVATION_linear)
        DN_LAUNCH(through_activation, count, (dn_activation)o->activation,
                  layer->saved ? layer->saved : out->data, out->data, out->grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    for (int32_t k = 0; k < inputs; k++) {
        const dn_addend addend = addend_of(layer, pass, k, dn_input(layer, pass, k)->grad);
        if (addend.values) DN_LAUNCH(add_gradient, count, addend, shape, out->grad, count);
        DN_CUDA_TRY(cudaGetLastError());
        if (wants_weights)
            DN_TRY(find_factor_gradient(layer, pass, k, column_grads,
                                        column_grads + inputs * columns));
    }
    if (wants_weights)
        DN_LAUNCH(add_weight_gradient, columns, is_normalized(layer), is_softmax(layer),
                  state->weights->data, factors, column_grads, state->weights->grad, inputs,
                  columns);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_shortcut_cuda = {forward, backward, nullptr, nullptr};
