/* The learned factors of [shortcut] on CUDA: math/shortcut.h, shortcut.h.
 *
 * Their gradients are sums over a channel, in PARTS parts by as many threads, which one thread a
 * column adds in order. The workspace holds these parts, doubles (c, PARTS), the factors and their
 * gradients, both (inputs, columns).
 */
#include "shortcut.h"

enum { PARTS = 64 };

static int64_t parts_floats(const dn_layer *layer)
{
    return layer->out.c * PARTS * (int64_t)(sizeof(double) / sizeof(float));
}

int64_t dn_shortcut_workspace(const dn_layer *layer)
{
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    if (!state->weights) return 0;
    return parts_floats(layer) + 2 * (int64_t)layer->input_count * state->columns;
}

float *dn_shortcut_factors(const dn_layer *layer, const dn_pass *pass)
{
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    return state->weights ? pass->workspace + parts_floats(layer) : nullptr;
}

static int32_t normalization_of(const dn_layer *layer)
{
    return ((const dn_shortcut_options *)layer->options)->weights_normalization;
}

/* factors (inputs, columns) from the weights of the same shape. */
static __global__ void make_factors(int32_t normalization, const float *weights, float *factors,
                                    int32_t inputs, int32_t columns)
{
    DN_GRID_STRIDE(c, columns) {
        for (int32_t k = 0; k < inputs; k++) factors[k * columns + c] = weights[k * columns + c];
        if (normalization != DN_NORMALIZATION_NONE)
            dn_shortcut_normalize(normalization == DN_NORMALIZATION_SOFTMAX, factors + c, inputs,
                                  columns);
    }
}

dn_status dn_shortcut_find_factors(const dn_layer *layer, const dn_pass *pass)
{
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    if (!state->weights) return DN_OK;
    DN_LAUNCH(make_factors, state->columns, normalization_of(layer), state->weights->data,
              dn_shortcut_factors(layer, pass), layer->input_count, state->columns);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* parts (c, PARTS): the gradient of the addend's factor, a channel each, in parts of every PARTS-th
 * element of the channel. */
static __global__ void dot_parts(dn_addend addend, dn_shape shape, const float *grad,
                                 int32_t images, double *parts, int64_t count)
{
    const int64_t plane = (int64_t)shape.h * shape.w;
    DN_GRID_STRIDE(i, count) {
        const int64_t c = i / PARTS;
        double sum = 0.0;
        for (int64_t at = i % PARTS; at < images * plane; at += PARTS) {
            const int64_t n = at / plane, element = (n * shape.c + c) * plane + at - n * plane;
            const int64_t source = partner(&addend, shape, element);
            if (source >= 0) sum += (double)grad[element] * (double)addend.values[source];
        }
        parts[i] = sum;
    }
}

/* column_grads (columns) = the parts of a column's channels, added up. */
static __global__ void add_columns(const double *parts, int32_t channels, float *column_grads,
                                   int32_t columns)
{
    DN_GRID_STRIDE(column, columns) {
        double sum = 0.0;
        for (int64_t c = column; c < channels; c += columns)
            for (int32_t part = 0; part < PARTS; part++) sum += parts[c * PARTS + part];
        column_grads[column] = (float)sum;
    }
}

/* weight_grads += what the factors' gradients, all (inputs, columns), make of them. */
static __global__ void add_weight_gradient(int32_t normalization, const float *weights,
                                           const float *factors, float *column_grads,
                                           float *weight_grads, int32_t inputs, int32_t columns)
{
    DN_GRID_STRIDE(c, columns) {
        if (normalization != DN_NORMALIZATION_NONE)
            dn_shortcut_normalize_backward(normalization == DN_NORMALIZATION_SOFTMAX, weights + c,
                                           factors + c, column_grads + c, inputs, columns);
        for (int32_t k = 0; k < inputs; k++)
            weight_grads[k * columns + c] += column_grads[k * columns + c];
    }
}

/* column_grads of input k, from its data. */
static dn_status find_factor_gradient(const dn_layer *layer, const dn_pass *pass, int32_t k,
                                      float *column_grads)
{
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    const dn_shape shape = {layer->out.c, layer->out.h, layer->out.w};
    const int64_t count = (int64_t)shape.c * PARTS;
    double *parts = (double *)(void *)pass->workspace;
    DN_LAUNCH(dot_parts, count, dn_shortcut_addend(layer, pass, k, dn_input(layer, pass, k)->data),
              shape, layer->out.grad, dn_live(layer, pass), parts, count);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(add_columns, state->columns, parts, shape.c, column_grads + k * state->columns,
              state->columns);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_shortcut_add_weight_gradient(const dn_layer *layer, const dn_pass *pass)
{
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    const int32_t inputs = layer->input_count, columns = state->columns;
    if (!state->weights || !state->weights->grad) return DN_OK;
    float *factors = dn_shortcut_factors(layer, pass), *column_grads = factors + inputs * columns;
    for (int32_t k = 0; k < inputs; k++) DN_TRY(find_factor_gradient(layer, pass, k, column_grads));
    DN_LAUNCH(add_weight_gradient, columns, normalization_of(layer), state->weights->data, factors,
              column_grads, state->weights->grad, inputs, columns);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}
