/* [activation]: one activation (math/activation.h) and nothing else. */
#include "layers/activation.h"

#include "core/network.h"

#include <stdio.h>

#define S dn_activation_options
static const dn_option options[] = {
    DN_CHOICE(S, activation, "activation", DN_ACTIVATION_linear, dn_activation_names,
              "which function"),
    DN_OPTIONS_END,
};
#undef S

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    return dn_set_output(layer, network, in->c, in->h, in->w);
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_activation_options *o = layer->options;
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    const int64_t size = dn_tensor_size(&layer->out) / layer->out.c;
    const int64_t rows = (int64_t)dn_live(layer, pass) * layer->out.c;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t row = 0; row < rows; row++)
        dn_activate_array((dn_activation)o->activation, in + row * size,
                          layer->out.data + row * size, size);
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_activation_options *o = layer->options;
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t size = dn_tensor_size(&layer->out) / layer->out.c;
    const int64_t rows = (int64_t)dn_live(layer, pass) * layer->out.c;
    if (!in->grad) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t row = 0; row < rows; row++) {
        const int64_t at = row * size;
        float *grad = layer->out.grad + at;
        dn_activation_gradient_array((dn_activation)o->activation, in->data + at,
                                     layer->out.data + at, grad, size);
        for (int64_t i = 0; i < size; i++) in->grad[at + i] += grad[i];
    }
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_activation_options *o = layer->options;
    (void)network;
    snprintf(text, size, "Activation Layer: %s, %lld inputs", dn_activation_names[o->activation],
             (long long)dn_tensor_size(&layer->out));
}

const dn_layer_type dn_activation_layer = {
    .name = "activation",
    .options_size = sizeof(dn_activation_options),
    .options = options,
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
