/* [cost]: the error between the layer before and the truth (dn_truth.values), summed over an image;
 * the output is a copy of the input. sse: squares; masked: squares but where the truth is -1234;
 * smooth: 2|d| - 1 beyond 1; L1. Loss and gradient are multiplied by `scale` (math/cost.h). */
#include "layers/cost.h"

#include "core/network.h"

#include <stdio.h>
#include <string.h>

static const char *const cost_names[] = {
#define X(name) #name,
    DN_COSTS(X)
#undef X
        NULL,
};

#define S dn_cost_options
static const dn_option options[] = {
    DN_CHOICE(S, type, "type", DN_COST_sse, cost_names, "which error"),
    DN_FLOAT(S, scale, "scale", 1, -1e6, 1e6, "multiplies the error"),
    DN_FLOAT(S, ratio, "ratio", 0, 0, 1, "accepted only as 0"),
    DN_FLOAT(S, thresh, "thresh", 0, 0, 1e6, "accepted only as 0"),
    DN_IGNORED("noobj", "accepted; no effect"),
    DN_OPTIONS_END,
};
#undef S

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_cost_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    if (o->ratio > 0.0f || o->thresh > 0.0f)
        return dn_layer_fail(layer, network, "ratio and thresh are not supported");
    if (layer->rois) return dn_layer_fail(layer, network, "cannot stand behind [roialign]");
    layer->has_loss = true;
    return dn_set_output(layer, network, in->c, in->h, in->w);
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_cost_options *o = layer->options;
    const int64_t size = dn_tensor_size(&layer->out);
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    double sum = 0;
    memcpy(layer->out.data, in, (size_t)(pass->batch * size) * sizeof *in);
    for (int32_t image = 0; pass->training && pass->truth && image < pass->batch; image++) {
        const float *truth = pass->truth[image].values;
        for (int64_t i = 0; truth && i < size; i++)
            sum += (double)dn_cost_of((dn_cost)o->type, in[image * size + i], truth[i]).error;
    }
    layer->loss = (double)o->scale * sum / pass->batch;
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_cost_options *o = layer->options;
    const int64_t size = dn_tensor_size(&layer->out);
    const dn_tensor *in = dn_input(layer, pass, 0);
    if (!in->grad) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int32_t image = 0; image < pass->batch; image++) {
        const float *truth = pass->truth ? pass->truth[image].values : NULL;
        for (int64_t i = 0; i < size; i++) {
            const int64_t at = image * size + i;
            in->grad[at] += layer->out.grad[at];
            if (truth)
                in->grad[at] += o->scale * pass->network->loss_scale *
                                dn_cost_of((dn_cost)o->type, in->data[at], truth[i]).grad;
        }
    }
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    (void)network;
    snprintf(text, size, "cost                                           %4lld",
             (long long)dn_tensor_size(&layer->out));
}

const dn_layer_type dn_cost_layer = {
    .name = "cost",
    .options_size = sizeof(dn_cost_options),
    .options = options,
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
