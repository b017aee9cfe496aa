/* The layers' shapes, and another input size for a network that is there. See network.h. */
#include "core/host.h"
#include "core/memory.h"

#include <stdio.h>

enum { DN_SIDE_MAX = 65536 };

dn_status dn_network_setup(dn_network *network)
{
    network->setups++;
    network->host_layers = false;
    for (int32_t i = 0; network->backend && i < network->layer_count; i++)
        if (dn_layer_needs_host(network, &network->layers[i])) network->host_layers = true;
    for (int32_t i = 0; i < network->layer_count; i++) {
        dn_layer *layer = &network->layers[i];
        layer->workspace_floats = layer->saved_floats = layer->flops = 0;
        DN_TRY(layer->type->setup(layer, network));
        const dn_layer_kernels *kernels =
            network->backend ? network->backend->kernels(layer->type) : NULL;
        if (kernels && kernels->setup && !dn_network_fuses(network))
            DN_TRY(kernels->setup(layer, network));
    }
    return DN_OK;
}

static dn_status set_up_at(dn_network *network, int32_t width, int32_t height)
{
    network->input.w = width;
    network->input.h = height;
    DN_TRY(dn_network_setup(network));
    return dn_network_plan(network);
}

dn_status dn_network_resize(dn_network *network, int32_t width, int32_t height)
{
    const int32_t old_width = network->input.w, old_height = network->input.h;
    int64_t values;
    if (width < 1 || height < 1 || width > DN_SIDE_MAX || height > DN_SIDE_MAX ||
        dn_product(&values, INT64_C(1) << 31, network->input.n, network->input.c, height, width) !=
            DN_OK)
        return dn_fail(DN_ERROR_ARGUMENT, "an input of %d x %d is not possible", width, height);
    if (width == old_width && height == old_height) return DN_OK;
    DN_TRY(dn_network_enter(network));
    network->passes++;
    dn_input_scratch_free(network->backend, &network->scratch);
    network->pass = (dn_pass){0};
    const dn_status status = set_up_at(network, width, height);
    if (status == DN_OK) return network->backend->synchronise(); /* a new arena is zeroed */
    char reason[512];
    snprintf(reason, sizeof reason, "%s", dn_error_message());
    set_up_at(network, old_width, old_height); /* fits: it did before, in the same arena */
    return dn_fail(status, "an input of %d x %d: %s", width, height, reason);
}
