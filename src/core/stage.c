/* What trains and what is frozen: the stage, and `stopbackward`. See network.h. */
#include "core/network.h"

#include <string.h>

int32_t dn_network_roialign(const dn_network *network)
{
    for (int32_t i = 0; i < network->layer_count; i++)
        if (strcmp(network->layers[i].type->name, "roialign") == 0) return i;
    return -1;
}

int32_t dn_network_detector_end(const dn_network *network)
{
    const int32_t roialign = dn_network_roialign(network);
    int32_t end = roialign < 0 ? network->layer_count : roialign;
    while (end > 0 && !network->layers[end - 1].type->detect) end--;
    return end;
}

int32_t dn_network_branch(const dn_network *network)
{
    return dn_network_roialign(network) < 0 ? -1 : dn_network_detector_end(network);
}

bool dn_network_fuses(const dn_network *network)
{
    const dn_network_options *options = &network->options;
    if (options->training || options->keep_all || options->input_grad) return false;
    if (network->backend == &dn_cpu_backend) return options->precision != DN_PRECISION_PLAIN;
    const bool half =
        options->precision == DN_PRECISION_FP16 || options->precision == DN_PRECISION_BF16;
    return half && network->backend->plan && !network->host_layers;
}

/* Layers that do not run do not train either: nothing decays that is not used. */
static void set_trains(dn_network *network, int32_t train_from)
{
    network->train_from = train_from;
    for (int32_t i = 0; i < network->layer_count; i++)
        network->layers[i].trains = i >= train_from && i < network->run_count;
}

dn_status dn_network_set_stage(dn_network *network)
{
    const dn_network_options *options = &network->options;
    const int32_t end = dn_network_detector_end(network);
    int32_t from = options->training ? 0 : network->layer_count;
    network->run_count = network->layer_count;
    if (options->stage == DN_STAGE_DETECTOR && end > 0) network->run_count = end;
    if (options->training && options->stage == DN_STAGE_MASK) {
        if (dn_network_roialign(network) < 0)
            return dn_fail(DN_ERROR_CONFIG,
                           "%s: has no [roialign]: there is no mask branch to train",
                           network->cfg->name);
        from = end;
    }
    for (int32_t i = from; i < network->layer_count; i++)
        if (network->layers[i].common.stopbackward == 1) from = i + 1;
    network->may_train_from = from;
    set_trains(network, from);
    return DN_OK;
}

void dn_network_thaw(dn_network *network, int64_t iteration)
{
    int32_t from = network->may_train_from;
    for (int32_t i = from; i < network->run_count; i++)
        if (network->layers[i].common.stopbackward > iteration) from = i + 1;
    if (from != network->train_from) set_trains(network, from);
}
