/* The list of what a layer reads and writes. See layer_arrays.h. */
#include "core/layer_arrays.h"

#include "core/network.h"

size_t dn_layer_array_limit(const dn_layer *layer)
{
    return 2 * ((size_t)layer->input_count + (size_t)layer->param_count + 1);
}

typedef struct dn_array_list {
    dn_layer_array *items;
    int32_t count;
} dn_array_list;

static void add(dn_array_list *list, dn_array_role role, float **pointer, int64_t floats,
                int32_t of)
{
    if (!*pointer) return;
    for (int32_t i = 0; i < list->count; i++)
        if (list->items[i].pointer == pointer) return;
    list->items[list->count++] = (dn_layer_array){role, pointer, *pointer, floats, of};
}

int32_t dn_layer_arrays(dn_layer *layer, dn_network *network, dn_layer_array *arrays)
{
    dn_array_list list = {arrays, 0};
    const dn_pass pass = {.network = network};
    for (int32_t k = 0; k < layer->input_count; k++) {
        dn_tensor *in = dn_input(layer, &pass, k);
        const int64_t floats = in->n * dn_tensor_size(in);
        add(&list, DN_ARRAY_IN, &in->data, floats, layer->inputs[k]);
        add(&list, DN_ARRAY_IN_GRAD, &in->grad, floats, layer->inputs[k]);
    }
    for (int32_t k = 0; k < layer->param_count; k++) {
        dn_param *param = &layer->params[k];
        const bool statistic = param->flags & DN_PARAM_STATISTIC;
        add(&list, statistic ? DN_ARRAY_STATISTIC : DN_ARRAY_PARAM, &param->data, param->count, 0);
        add(&list, DN_ARRAY_PARAM_GRAD, &param->grad, param->count, 0);
    }
    const int64_t floats = layer->out.n * dn_tensor_size(&layer->out);
    add(&list, DN_ARRAY_OUT, &layer->out.data, floats, layer->index);
    add(&list, DN_ARRAY_OUT_GRAD, &layer->out.grad, floats, layer->index);
    return list.count;
}

int64_t dn_live_floats(const dn_layer_array *array, const dn_pass *pass)
{
    switch (array->role) {
    case DN_ARRAY_PARAM:
    case DN_ARRAY_STATISTIC:
    case DN_ARRAY_PARAM_GRAD:
    case DN_ARRAY_OWN:
        return array->floats;
    case DN_ARRAY_IN:
    case DN_ARRAY_IN_GRAD:
    case DN_ARRAY_OUT:
    case DN_ARRAY_OUT_GRAD:
        break;
    }
    const dn_network *network = pass->network;
    if (array->of < 0) return pass->batch * dn_tensor_size(&network->input);
    const dn_layer *layer = &network->layers[array->of];
    return dn_live(layer, pass) * dn_tensor_size(&layer->out);
}

void dn_put_back(const dn_layer_array *arrays, int32_t count)
{
    for (int32_t i = 0; i < count; i++) *arrays[i].pointer = arrays[i].home;
}
