/* [route]: channels of earlier layers, one after the other; with groups, of each layer only the
 * group_id-th of `groups` equal parts. */
#include "layers/route.h"

#include "core/network.h"

#include <stdio.h>
#include <string.h>

#define S dn_route_options
static const dn_option options[] = {
    DN_INTS(S, layers, "layers", 0, 0, "layers to read; negative: counted back from here"),
    DN_INT(S, groups, "groups", 1, 1, 1 << 24, "equal parts of each layer's channels"),
    DN_INT(S, group_id, "group_id", 0, 0, 1 << 24, "the part that is taken"),
    DN_OPTIONS_END,
};
#undef S

static dn_status connect(dn_layer *layer, dn_network *network)
{
    const dn_route_options *o = layer->options;
    if (o->layers.count == 0) return dn_layer_fail(layer, network, "layers= is missing");
    for (int32_t i = 0; i < o->layers.count; i++)
        DN_TRY(dn_add_input(layer, network, o->layers.items[i]));
    return DN_OK;
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_route_options *o = layer->options;
    DN_TRY(dn_same_size_inputs(layer, network));
    if (o->group_id >= o->groups)
        return dn_layer_fail(layer, network, "group_id=%d: there are groups 0..%d", o->group_id,
                             o->groups - 1);
    int64_t channels = 0;
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_tensor *in = dn_input_shape(layer, network, k);
        if (in->c % o->groups != 0)
            return dn_layer_fail(layer, network, "groups=%d does not divide layer %d's %d channels",
                                 o->groups, layer->inputs[k], in->c);
        channels += in->c / o->groups;
    }
    const dn_tensor *first = dn_input_shape(layer, network, 0);
    return dn_set_output(layer, network, channels, first->h, first->w);
}

typedef enum dn_route_way { DN_ROUTE_COPY, DN_ROUTE_ADD_BACK } dn_route_way;

static void move(const dn_layer *layer, const dn_pass *pass, dn_route_way way)
{
    const dn_route_options *o = layer->options;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    for (int32_t n = 0; n < dn_live(layer, pass); n++) {
        int64_t to = n * dn_tensor_size(&layer->out);
        for (int32_t k = 0; k < layer->input_count; k++) {
            const dn_tensor *in = dn_input(layer, pass, k);
            const int64_t count = in->c / o->groups * plane;
            const int64_t from = n * dn_tensor_size(in) + o->group_id * count;
            if (way == DN_ROUTE_COPY)
                memcpy(layer->out.data + to, in->data + from, (size_t)count * sizeof(float));
            else if (in->grad)
                for (int64_t i = 0; i < count; i++) in->grad[from + i] += layer->out.grad[to + i];
            to += count;
        }
    }
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    move(layer, pass, DN_ROUTE_COPY);
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    move(layer, pass, DN_ROUTE_ADD_BACK);
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_route_options *o = layer->options;
    (void)network;
    size_t used = (size_t)snprintf(text, size, "route ");
    for (int32_t k = 0; k < layer->input_count && used < size; k++)
        used += (size_t)snprintf(text + used, size - used, " %d", layer->inputs[k]);
    if (o->groups > 1 && used < size)
        snprintf(text + used, size - used, "  %d/%d", o->group_id, o->groups);
}

const dn_layer_type dn_route_layer = {
    .name = "route",
    .options_size = sizeof(dn_route_options),
    .options = options,
    .connect = connect,
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
