/* The layer interface: registry, inputs, shapes, parameters. See layer.h. */
#include "core/layer.h"

#include "core/memory.h"
#include "core/network.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One tensor's values stay below this (16 GiB of floats), one parameter array below the other. */
#define DN_VALUES_LIMIT ((int64_t)1 << 32)
#define DN_PARAM_LIMIT  ((int64_t)1 << 30)

enum { DN_INPUTS_MAX = 1024 }; /* of a layer */

#define DN_LAYER(name)     extern const dn_layer_type dn_##name##_layer;
#define DN_LAYER_CPU(name) DN_LAYER(name)
#include "core/layers.def"
#undef DN_LAYER

static const dn_layer_type *const types[] = {
#define DN_LAYER(name) &dn_##name##_layer,
#include "core/layers.def"
#undef DN_LAYER
    NULL,
};
#undef DN_LAYER_CPU

const dn_layer_type *dn_layer_type_at(int32_t index)
{
    return types[index];
}

const dn_layer_type *dn_layer_type_find(const char *name)
{
    for (int32_t i = 0; types[i]; i++) {
        if (strcmp(types[i]->name, name) == 0) return types[i];
        for (int32_t j = 0; j < 2; j++)
            if (types[i]->aliases[j] && strcmp(types[i]->aliases[j], name) == 0) return types[i];
    }
    return NULL;
}

#define S dn_common_options
const dn_option dn_common_option_table[] = {
    DN_FLOAT(S, learning_rate, "learning_rate", 1, 0, 1e6, "multiplies the net's rate"),
    DN_INT(S, stopbackward, "stopbackward", 0, 0, 2000000000,
           "1: this layer and all before it are frozen; N > 1: until iteration N"),
    DN_INT(S, numload, "numload", 0, 0, 2000000000, "read only this many filters; 0: all"),
    DN_FLAG(S, dont_update, "dont_update", 0, "the optimizer leaves this layer alone"),
    DN_FLAG(S, train_only_bn, "train_only_bn", 0, "only biases and scales are updated"),
    DN_FLAG(S, dontload, "dontload", 0, "the weights file does not hold this layer"),
    DN_FLAG(S, dontsave, "dontsave", 0, "the layer is left out when saving"),
    DN_FLAG(S, dontloadscales, "dontloadscales", 0, "the file holds no batch norm arrays"),
    DN_FLAG(S, onlyforward, "onlyforward", 0, "no gradient passes this layer"),
    DN_IGNORED("truth", "accepted; no effect"),
    DN_IGNORED("smooth", "accepted; no effect"),
    DN_IGNORED("clip", "accepted; no effect"),
    DN_IGNORED("burnin_update", "accepted; no effect"),
    DN_OPTIONS_END,
};
#undef S

dn_status dn_layer_fail(const dn_layer *layer, const dn_network *network, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return dn_fail(DN_ERROR_CONFIG, "%s:%d: layer %d [%s]: %s", network->cfg->name, layer->line,
                   layer->index, layer->type->name, text);
}

dn_tensor *dn_input(const dn_layer *layer, const dn_pass *pass, int32_t k)
{
    const int32_t index = layer->inputs[k];
    return index < 0 ? &pass->network->input : &pass->network->layers[index].out;
}

const dn_tensor *dn_input_shape(const dn_layer *layer, const dn_network *network, int32_t k)
{
    const int32_t index = layer->inputs[k];
    return index < 0 ? &network->input : &network->layers[index].out;
}

dn_status dn_add_input(dn_layer *layer, dn_network *network, int32_t reference)
{
    const int64_t index = reference < 0 ? (int64_t)layer->index + reference : reference;
    const bool network_input = index == -1 && layer->index == 0;
    if (!network_input && (index < 0 || index >= layer->index))
        return dn_layer_fail(layer, network,
                             "reads layer %d, which is layer %lld: only 0..%d come before it",
                             reference, (long long)index, layer->index - 1);
    if (layer->input_count == DN_INPUTS_MAX)
        return dn_layer_fail(layer, network, "reads more than %d layers", DN_INPUTS_MAX);
    int32_t *grown = dn_realloc(layer->inputs, (size_t)layer->input_count * sizeof *grown,
                                ((size_t)layer->input_count + 1) * sizeof *grown);
    if (!grown) return DN_ERROR_MEMORY;
    grown[layer->input_count] = (int32_t)index;
    layer->inputs = grown;
    layer->input_count++;
    return DN_OK;
}

dn_status dn_set_output(dn_layer *layer, const dn_network *network, int64_t c, int64_t h, int64_t w)
{
    if (c < 1 || h < 1 || w < 1)
        return dn_layer_fail(layer, network, "its output would be %lld x %lld x %lld (w x h x c)",
                             (long long)w, (long long)h, (long long)c);
    const int32_t n = layer->rois ? layer->rois->capacity : network->batch;
    int64_t total;
    if (dn_product(&total, DN_VALUES_LIMIT, n, c, h, w) != DN_OK)
        return dn_layer_fail(layer, network, "its output %lld x %lld x %lld of %d is too large",
                             (long long)w, (long long)h, (long long)c, n);
    layer->out.n = n;
    layer->out.c = (int32_t)c;
    layer->out.h = (int32_t)h;
    layer->out.w = (int32_t)w;
    return DN_OK;
}

dn_status dn_add_param(dn_layer *layer, const dn_network *network, dn_param param)
{
    dn_param *known = dn_find_param(layer, param.name);
    if (known) {
        if (known->count == param.count) return DN_OK;
        return dn_layer_fail(layer, network, "%s would change from %lld to %lld values", param.name,
                             (long long)known->count, (long long)param.count);
    }
    if (param.count < 1 || param.count > DN_PARAM_LIMIT || layer->param_count == DN_MAX_PARAMS)
        return dn_layer_fail(layer, network, "%lld %s are too many", (long long)param.count,
                             param.name);
    layer->params[layer->param_count++] = param;
    return DN_OK;
}

dn_param *dn_find_param(dn_layer *layer, const char *name)
{
    for (int32_t i = 0; i < layer->param_count; i++)
        if (strcmp(layer->params[i].name, name) == 0) return &layer->params[i];
    return NULL;
}

dn_status dn_same_size_inputs(const dn_layer *layer, const dn_network *network)
{
    const dn_tensor *first = dn_input_shape(layer, network, 0);
    for (int32_t k = 1; k < layer->input_count; k++) {
        const dn_tensor *other = dn_input_shape(layer, network, k);
        if (other->w != first->w || other->h != first->h)
            return dn_layer_fail(layer, network, "layer %d is %d x %d, layer %d is %d x %d",
                                 layer->inputs[0], first->w, first->h, layer->inputs[k], other->w,
                                 other->h);
    }
    return DN_OK;
}
