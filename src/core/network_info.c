/* The network: what others may ask it. See darknet.h. */
#include "core/host.h"
#include "core/params.h"

#include <stdio.h>
#include <string.h>

dn_status dn_network_get_info(const dn_network *network, dn_network_info *info)
{
    int64_t flops = 0;
    for (int32_t i = 0; i < network->layer_count; i++) flops += network->layers[i].flops;
    *info = (dn_network_info){
        .layer_count = network->layer_count,
        .batch = network->batch,
        .channels = network->input.c,
        .height = network->input.h,
        .width = network->input.w,
        .parameters = network->param_floats,
        .flops = flops,
        .arena_bytes = network->arena_floats * (int64_t)sizeof(float) + network->companion.bytes,
        .seen = network->seen,
    };
    return DN_OK;
}

dn_status dn_network_accept(dn_network *network, const void *data, size_t bytes, uint64_t stream)
{
    if (!network->backend->accept)
        return dn_fail(DN_ERROR_DEVICE,
                       "an array on a GPU for a network on the CPU: it has to come to the host");
    DN_TRY(dn_network_enter(network));
    return network->backend->accept(data, bytes, stream);
}

double dn_network_loss_scale(const dn_network *network)
{
    return (double)network->loss_scale;
}

const char *dn_precision_name(dn_precision precision)
{
    static const char *const names[] = {"f32",  "f32",  "exact",           "plain",          "bf16",
                                        "int8", "fp16", "bf16-everywhere", "int8-everywhere"};
    const size_t index = (size_t)precision;
    return index < sizeof names / sizeof *names ? names[index] : NULL;
}

const char *dn_products_name(dn_products products)
{
    static const char *const names[] = {"float32", "tf32", "fp16"};
    const size_t index = (size_t)products;
    return index < sizeof names / sizeof *names ? names[index] : NULL;
}

const char *dn_network_precision(const dn_network *network)
{
    return dn_precision_name(dn_network_fuses(network) ? network->options.precision
                                                       : DN_PRECISION_PLAIN);
}

static dn_status check_layer(const dn_network *network, int32_t layer)
{
    if (layer >= 0 && layer < network->layer_count) return DN_OK;
    return dn_fail(DN_ERROR_ARGUMENT, "layer %d: the network has layers 0..%d", layer,
                   network->layer_count - 1);
}

/* Output and gradient; of a network on a device copies of what is kept there, else NULL. */
static dn_status values_of(const dn_network *network, const dn_layer *layer, const float **out,
                           const float **grad)
{
    const bool last = layer->index == network->run_count - 1;
    const bool ran = network->pass.network != NULL;
    *out = layer->out.data;
    *grad = layer->out.grad;
    if (!network->host && ran && layer->type->complete)
        layer->type->complete(layer, &network->pass);
    if (!network->host) return DN_OK;
    *out = *grad = NULL;
    if (!ran || layer->index >= network->run_count) return DN_OK;
    if (!network->options.keep_all && !layer->keeps_output && !last) return DN_OK;
    DN_TRY(dn_network_enter(network));
    DN_TRY(dn_host_output(layer, &network->pass, out));
    return network->options.keep_all || last ? dn_host_grad(layer, &network->pass, grad) : DN_OK;
}

dn_status dn_network_get_layer(const dn_network *network, int32_t index, dn_layer_info *info)
{
    DN_TRY(check_layer(network, index));
    const dn_layer *layer = &network->layers[index];
    const float *out, *grad;
    DN_TRY(values_of(network, layer, &out, &grad));
    *info = (dn_layer_info){
        .type = layer->type->name,
        .line = layer->line,
        .n = layer->out.n,
        .c = layer->out.c,
        .h = layer->out.h,
        .w = layer->out.w,
        .live = dn_live(layer, &network->pass),
        .param_count = layer->param_count,
        .trains = layer->trains,
        .out = out,
        .grad = grad,
        .loss = layer->loss,
        .flops = layer->flops,
    };
    return DN_OK;
}

dn_status dn_network_get_param(dn_network *network, int32_t index, int32_t k, dn_param_info *info)
{
    DN_TRY(check_layer(network, index));
    const dn_layer *layer = &network->layers[index];
    if (k < 0 || k >= layer->param_count)
        return dn_fail(DN_ERROR_ARGUMENT, "parameter %d: layer %d [%s] has %d", k, index,
                       layer->type->name, layer->param_count);
    const dn_param *param = &layer->params[k];
    float *data, *grad;
    DN_TRY(dn_network_enter(network));
    DN_TRY(dn_params_here(network));
    DN_TRY(dn_host_param(network, index, k, &data, &grad));
    *info = (dn_param_info){param->name, param->count, data, grad};
    return DN_OK;
}

const char *dn_network_device(const dn_network *network)
{
    return network->device_name;
}

void dn_network_touch(dn_network *network)
{
    network->weights_version++;
    network->frozen_version++;
    if (network->host) network->host->touched = true;
}

void dn_network_set_seen(dn_network *network, uint64_t seen)
{
    network->seen = seen;
}

dn_status dn_network_describe(const dn_network *network, int32_t index, char *text, size_t size)
{
    DN_TRY(check_layer(network, index));
    const dn_layer *layer = &network->layers[index];
    if (layer->type->describe) {
        layer->type->describe(layer, network, text, size);
        return DN_OK;
    }
    const dn_tensor *in = dn_input_shape(layer, network, 0), *to = &layer->out;
    snprintf(text, size, "%-21s%4d x%4d x%4d   ->  %4d x%4d x%4d", layer->type->name, in->w, in->h,
             in->c, to->w, to->h, to->c);
    return DN_OK;
}

bool dn_network_is_classifier(const dn_network *network)
{
    static const char *const ends[] = {"softmax", "logistic", "cost"};
    const dn_layer *last = &network->layers[network->layer_count - 1];
    bool found = false;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        found = found || strcmp(last->type->name, ends[i]) == 0;
    for (int32_t i = 0; i < network->layer_count; i++)
        if (network->layers[i].type->detect) return false;
    return found && !last->rois && dn_tensor_size(&last->out) <= INT32_MAX;
}

int32_t dn_network_classes(const dn_network *network)
{
    dn_head_info head;
    if (dn_network_is_classifier(network))
        return (int32_t)dn_tensor_size(&network->layers[network->layer_count - 1].out);
    return dn_network_head(network, network->layer_count, &head) == DN_OK ? head.classes : 0;
}

const char *dn_network_data_path(const dn_network *network)
{
    return network->net.data;
}
