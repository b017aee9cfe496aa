/* [shortcut] on CUDA; partners and learned factors: math/shortcut.h.
 *
 * Forward and backward are one launch for DN_ADDENDS inputs: an element is read and written once.
 * Learned factors are made before; their gradients are sums over a channel, in PARTS parts by as
 * many threads, which one thread a column adds in order. The workspace holds these parts, doubles
 * (c, PARTS), the factors and their gradients, both (inputs, columns).
 */
#include "launch.h"

#include "layers/shortcut.h"

enum { PARTS = 64 };

static int64_t parts_floats(const dn_layer *layer)
{
    return layer->out.c * PARTS * (int64_t)(sizeof(double) / sizeof(float));
}

/* Where the factors are in the workspace. */
static float *factors_at(const dn_layer *layer, const dn_pass *pass)
{
    return pass->workspace + parts_floats(layer);
}

static dn_status setup(dn_layer *layer, dn_network *)
{
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    layer->workspace_floats =
        state->weights ? parts_floats(layer) + 2 * (int64_t)layer->input_count * state->columns : 0;
    return DN_OK;
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

/* The factors of learned weights; without weights they are arguments of the kernels. */
static dn_status find_factors(const dn_layer *layer, const dn_pass *pass)
{
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    if (!state->weights) return DN_OK;
    DN_LAUNCH(make_factors, state->columns, normalization_of(layer), state->weights->data,
              factors_at(layer, pass), layer->input_count, state->columns);
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
    float *values; /* (n, c, h, w): data or gradient, or NULL */
    int32_t c;
    bool same; /* shape as the output: an element's partner has its index */
    dn_overlap overlap;
    float factor;
    const float *factors; /* (columns) in place of `factor`, or NULL */
    int32_t columns;
} dn_addend;

/* Those of one launch, as its arguments. */
enum { DN_ADDENDS = 16 };

typedef struct dn_addends {
    int32_t count;
    bool first; /* the output's sum begins with them */
    dn_addend items[DN_ADDENDS];
} dn_addends;

/* Index of element i's partner in the addend's tensor; -1: none. */
static __device__ int64_t partner(const dn_addend *addend, dn_shape shape, int64_t i)
{
    if (addend->same) return i;
    const dn_overlap *o = &addend->overlap;
    const dn_place at = place_of(shape, i);
    const int32_t source = dn_overlap_source(o, at.c, at.y, at.x);
    return source < 0 ? -1 : (at.n * addend->c + at.c) * o->h * o->w + source;
}

static __device__ float factor_of(const dn_addend *addend, dn_shape shape, int64_t i)
{
    if (!addend->factors) return addend->factor;
    return addend->factors[addend->columns > 1 ? place_of(shape, i).c : 0];
}

/* The sum of the addends, behind what earlier launches left in `sum`, into `sum` and through the
 * activation into `out`; each may be NULL. */
static __global__ void add_up(dn_addends addends, dn_shape shape, dn_activation kind, float *sum,
                              float *out, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        float value = addends.first ? 0.0f : sum[i];
        for (int32_t k = 0; k < addends.count; k++) {
            const dn_addend *addend = &addends.items[k];
            const int64_t source = partner(addend, shape, i);
            if (source < 0) continue;
            const float part = factor_of(addend, shape, i) * addend->values[source];
            value = addends.first && k == 0 ? part : value + part;
        }
        if (sum) sum[i] = value;
        if (out) out[i] = dn_activate(kind, value);
    }
}

typedef enum dn_kind_of_values { DN_DATA, DN_GRADIENTS } dn_kind_of_values;

static dn_addend addend_of(const dn_layer *layer, const dn_pass *pass, int32_t k,
                           dn_kind_of_values values)
{
    const dn_shortcut_options *o = (const dn_shortcut_options *)layer->options;
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    const dn_tensor *in = dn_input(layer, pass, k), *out = &layer->out;
    dn_addend addend = {};
    addend.values = values == DN_DATA ? in->data : in->grad;
    addend.c = in->c;
    addend.same = in->c == out->c && in->h == out->h && in->w == out->w;
    addend.overlap = state->overlaps[k];
    addend.factor = k == 0 ? o->alpha : o->beta;
    addend.factors = state->weights ? factors_at(layer, pass) + k * state->columns : nullptr;
    addend.columns = state->columns;
    return addend;
}

/* The inputs from `first` on, as many as a launch takes. */
static dn_addends addends_from(const dn_layer *layer, const dn_pass *pass, int32_t first,
                               dn_kind_of_values values)
{
    const int32_t left = layer->input_count - first;
    dn_addends addends = {};
    addends.count = left < DN_ADDENDS ? left : (int32_t)DN_ADDENDS;
    addends.first = first == 0;
    for (int32_t k = 0; k < addends.count; k++)
        addends.items[k] = addend_of(layer, pass, first + k, values);
    return addends;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_shortcut_options *o = (const dn_shortcut_options *)layer->options;
    const dn_tensor *out = &layer->out;
    const dn_shape shape = {out->c, out->h, out->w};
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(out);
    float *saved = pass->training ? layer->saved : nullptr; /* (n, c, h, w) or NULL */
    DN_TRY(find_factors(layer, pass));
    for (int32_t first = 0; first < layer->input_count; first += DN_ADDENDS) {
        const bool last = first + DN_ADDENDS >= layer->input_count;
        float *sum = saved ? saved : last && first == 0 ? nullptr : out->data;
        DN_LAUNCH(add_up, count, addends_from(layer, pass, first, DN_DATA), shape,
                  (dn_activation)o->activation, sum, last ? out->data : nullptr, count);
        DN_CUDA_TRY(cudaGetLastError());
    }
    return DN_OK;
}

/* The addends' gradients from the output's, which first goes back through the activation, in place.
 * Each element of an addend is the partner of one at most. */
static __global__ void add_gradients(dn_addends addends, dn_shape shape, dn_activation kind,
                                     const float *sum, const float *out, float *grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        float value = grad[i];
        if (addends.first && kind != DN_ACTIVATION_linear) {
            value *= dn_activation_gradient(kind, sum[i], out[i]);
            grad[i] = value;
        }
        for (int32_t k = 0; k < addends.count; k++) {
            const dn_addend *addend = &addends.items[k];
            const int64_t source = addend->values ? partner(addend, shape, i) : -1;
            if (source >= 0) addend->values[source] += factor_of(addend, shape, i) * value;
        }
    }
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
    DN_LAUNCH(dot_parts, count, addend_of(layer, pass, k, DN_DATA), shape, layer->out.grad,
              dn_live(layer, pass), parts, count);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(add_columns, state->columns, parts, shape.c, column_grads + k * state->columns,
              state->columns);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static dn_status add_weight_gradients(const dn_layer *layer, const dn_pass *pass)
{
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    const int32_t inputs = layer->input_count, columns = state->columns;
    float *factors = factors_at(layer, pass), *column_grads = factors + inputs * columns;
    for (int32_t k = 0; k < inputs; k++) DN_TRY(find_factor_gradient(layer, pass, k, column_grads));
    DN_LAUNCH(add_weight_gradient, columns, normalization_of(layer), state->weights->data, factors,
              column_grads, state->weights->grad, inputs, columns);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_shortcut_options *o = (const dn_shortcut_options *)layer->options;
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    const dn_tensor *out = &layer->out;
    const dn_shape shape = {out->c, out->h, out->w};
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(out);
    DN_TRY(find_factors(layer, pass));
    for (int32_t first = 0; first < layer->input_count; first += DN_ADDENDS) {
        DN_LAUNCH(add_gradients, count, addends_from(layer, pass, first, DN_GRADIENTS), shape,
                  (dn_activation)o->activation, layer->saved ? layer->saved : out->data, out->data,
                  out->grad, count);
        DN_CUDA_TRY(cudaGetLastError());
    }
    return state->weights && state->weights->grad ? add_weight_gradients(layer, pass) : DN_OK;
}

const dn_layer_kernels dn_shortcut_cuda = {forward, backward, setup, nullptr};
