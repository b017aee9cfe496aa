/* [shortcut] on CUDA; partners: math/shortcut.h, learned factors: shortcut_weights.cu.
 *
 * Forward and backward are one launch for DN_ADDENDS inputs, so that an element is read and written
 * once, in quads where all inputs have the output's shape.
 */
#include "shortcut.h"

#include "activation.h"

static dn_status setup(dn_layer *layer, dn_network *)
{
    layer->workspace_floats = dn_shortcut_workspace(layer);
    return DN_OK;
}

/* Those of one launch, as its arguments. */
enum { DN_ADDENDS = 16 };

typedef struct dn_addends {
    int32_t count;
    bool first; /* the output's sum begins with them */
    dn_addend items[DN_ADDENDS];
} dn_addends;

static __device__ float factor_of(const dn_addend *addend, dn_shape shape, int64_t i)
{
    if (!addend->factors) return addend->factor;
    const bool by_channel = addend->columns > 1;
    return addend->factors[by_channel ? dn_place_of(i, shape.w, shape.h).map % shape.c : 0];
}

/* The sum of the addends, behind what earlier launches left in `sum`, into `sum` and through the
 * activation into `out`; each may be NULL. Quads are for addends of the output's shape whose
 * factors are arguments. */
template <typename Value>
static __global__ void add_up(dn_addends addends, dn_shape shape, dn_activation kind, Value *sum,
                              Value *out, int64_t count)
{
    const bool wide = sizeof(Value) > sizeof(float);
    DN_GRID_STRIDE(i, count) {
        Value value = {};
        if (!addends.first) value = sum[i];
        for (int32_t k = 0; k < addends.count; k++) {
            const dn_addend *addend = &addends.items[k];
            const int64_t source = wide ? i : partner(addend, shape, i);
            if (source < 0) continue;
            const float factor = wide ? addend->factor : factor_of(addend, shape, i);
            const Value part = factor * ((const Value *)addend->values)[source];
            value = addends.first && k == 0 ? part : value + part;
        }
        if (sum) sum[i] = value;
        if (out) out[i] = dn_activated(kind, value);
    }
}

typedef enum dn_kind_of_values { DN_DATA, DN_GRADIENTS } dn_kind_of_values;

dn_addend dn_shortcut_addend(const dn_layer *layer, const dn_pass *pass, int32_t k, float *values)
{
    const dn_shortcut_options *o = (const dn_shortcut_options *)layer->options;
    const dn_shortcut *state = (const dn_shortcut *)layer->state;
    const dn_tensor *in = dn_input(layer, pass, k), *out = &layer->out;
    const float *factors = dn_shortcut_factors(layer, pass);
    dn_addend addend = {};
    addend.values = values;
    addend.c = in->c;
    addend.same = in->c == out->c && in->h == out->h && in->w == out->w;
    addend.overlap = state->overlaps[k];
    addend.factor = k == 0 ? o->alpha : o->beta;
    addend.factors = factors ? factors + k * state->columns : nullptr;
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
    for (int32_t k = 0; k < addends.count; k++) {
        const dn_tensor *in = dn_input(layer, pass, first + k);
        addends.items[k] =
            dn_shortcut_addend(layer, pass, first + k, values == DN_DATA ? in->data : in->grad);
    }
    return addends;
}

/* With all that a launch reads and writes in places of quads. */
static bool takes_quads(const dn_addends *addends, int64_t count, const float *sum,
                        const float *out, const float *grad)
{
    bool all =
        count % 4 == 0 && dn_is_quad_place(sum) && dn_is_quad_place(out) && dn_is_quad_place(grad);
    for (int32_t k = 0; k < addends->count; k++) {
        const dn_addend *addend = &addends->items[k];
        all = all && addend->same && !addend->factors && dn_is_quad_place(addend->values);
    }
    return all;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_activation kind =
        (dn_activation)((const dn_shortcut_options *)layer->options)->activation;
    const dn_tensor *out = &layer->out;
    const dn_shape shape = {out->c, out->h, out->w};
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(out);
    float *saved = pass->training ? layer->saved : nullptr; /* (n, c, h, w) or NULL */
    DN_TRY(dn_shortcut_find_factors(layer, pass));
    for (int32_t first = 0; first < layer->input_count; first += DN_ADDENDS) {
        const bool last = first + DN_ADDENDS >= layer->input_count;
        const dn_addends addends = addends_from(layer, pass, first, DN_DATA);
        float *sum = saved ? saved : last && first == 0 ? nullptr : out->data;
        float *to = last ? out->data : nullptr;
        if (takes_quads(&addends, count, sum, to, nullptr))
            DN_LAUNCH(add_up, count / 4, addends, shape, kind, (dn_quad *)sum, (dn_quad *)to,
                      count / 4);
        else
            DN_LAUNCH(add_up, count, addends, shape, kind, sum, to, count);
        DN_CUDA_TRY(cudaGetLastError());
    }
    return DN_OK;
}

/* The addends' gradients from the output's, which first goes back through the activation, in place.
 * Each element of an addend is the partner of one at most. */
template <typename Value>
static __global__ void add_gradients(dn_addends addends, dn_shape shape, dn_activation kind,
                                     const Value *sum, const Value *out, Value *grad, int64_t count)
{
    const bool wide = sizeof(Value) > sizeof(float);
    DN_GRID_STRIDE(i, count) {
        Value value = grad[i];
        if (addends.first && kind != DN_ACTIVATION_linear) {
            value = value * dn_slope(kind, sum[i], out[i]);
            grad[i] = value;
        }
        for (int32_t k = 0; k < addends.count; k++) {
            const dn_addend *addend = &addends.items[k];
            Value *values = (Value *)addend->values;
            const int64_t source = !values ? -1 : wide ? i : partner(addend, shape, i);
            if (source < 0) continue;
            const float factor = wide ? addend->factor : factor_of(addend, shape, i);
            values[source] = values[source] + factor * value;
        }
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_activation kind =
        (dn_activation)((const dn_shortcut_options *)layer->options)->activation;
    const dn_tensor *out = &layer->out;
    const dn_shape shape = {out->c, out->h, out->w};
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(out);
    const float *sum = layer->saved ? layer->saved : out->data;
    DN_TRY(dn_shortcut_find_factors(layer, pass));
    for (int32_t first = 0; first < layer->input_count; first += DN_ADDENDS) {
        const dn_addends addends = addends_from(layer, pass, first, DN_GRADIENTS);
        if (takes_quads(&addends, count, sum, out->data, out->grad))
            DN_LAUNCH(add_gradients, count / 4, addends, shape, kind, (const dn_quad *)sum,
                      (const dn_quad *)out->data, (dn_quad *)out->grad, count / 4);
        else
            DN_LAUNCH(add_gradients, count, addends, shape, kind, sum, out->data, out->grad, count);
        DN_CUDA_TRY(cudaGetLastError());
    }
    return dn_shortcut_add_weight_gradient(layer, pass);
}

const dn_layer_kernels dn_shortcut_cuda = {forward, backward, setup, nullptr};
