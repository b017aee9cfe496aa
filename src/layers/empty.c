/* [empty] or [silence]: a copy of the layer before. */
#include "core/layer.h"
#include "core/network.h"

#include <stdio.h>
#include <string.h>

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    return dn_set_output(layer, network, in->c, in->h, in->w);
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    memcpy(layer->out.data, dn_input(layer, pass, 0)->data, (size_t)count * sizeof(float));
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    float *in_grad = dn_input(layer, pass, 0)->grad; /* (n, c, h, w) */
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    if (!in_grad) return DN_OK;
    for (int64_t i = 0; i < count; i++) in_grad[i] += layer->out.grad[i];
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    (void)layer;
    (void)network;
    snprintf(text, size, "empty");
}

const dn_layer_type dn_empty_layer = {
    .name = "empty",
    .aliases = {"silence"},
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
