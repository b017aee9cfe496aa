/* A network's layers and their shapes, from its cfg; what is asked of it besides: network.c. See
 * network.h. */
#include "core/network.h"

#include "core/memory.h"

#include <string.h>

/* Unknown and repeated keys: a warning each, or an error when strict. */
static dn_status check_keys(const dn_network *network, const dn_cfg_section *section)
{
    for (int32_t i = 0; i < section->entry_count; i++) {
        const dn_cfg_entry *entry = &section->entries[i];
        if (entry->used && !entry->repeated) continue;
        const dn_status status = dn_fail(
            DN_ERROR_CONFIG, "%s:%d: [%s] %s '%s = %s'", network->cfg->name, entry->line,
            section->name,
            entry->repeated ? "repeated field, the first one counts:" : "Unused field:", entry->key,
            entry->value);
        if (network->options.strict) return status;
        dn_network_warn(network, dn_error_message());
    }
    return DN_OK;
}

static dn_status read_net_section(dn_network *network)
{
    dn_cfg *cfg = network->cfg;
    if (cfg->section_count == 0)
        return dn_fail(DN_ERROR_CONFIG, "%s: has no sections; [net] must come first", cfg->name);
    dn_cfg_section *section = &cfg->sections[0];
    if (strcmp(section->name, "net") != 0 && strcmp(section->name, "network") != 0)
        return dn_fail(DN_ERROR_CONFIG, "%s:%d: the first section is [%s]; [net] must come first",
                       cfg->name, section->line, section->name);
    if (cfg->section_count == 1)
        return dn_fail(DN_ERROR_CONFIG, "%s: has no layers behind [net]", cfg->name);
    DN_TRY(dn_options_parse(dn_net_option_table, cfg, section, &network->net));
    DN_TRY(check_keys(network, section));
    if (!network->options.training) return DN_OK;
    for (int stage = 0; stage < 2; stage++) {
        const bool mask_stage = stage == 1;
        int32_t batch, subdivisions;
        dn_net_batch(&network->net, mask_stage, &batch, &subdivisions);
        if (batch % subdivisions != 0)
            return dn_fail(DN_ERROR_CONFIG,
                           "%s:%d: [net] %sbatch=%d is no multiple of %ssubdivisions=%d", cfg->name,
                           section->line, mask_stage ? "mask_" : "", batch,
                           mask_stage ? "mask_" : "", subdivisions);
    }
    return DN_OK;
}

static dn_status set_input(dn_network *network)
{
    const dn_net_options *net = &network->net;
    const dn_network_options *options = &network->options;
    dn_tensor *input = &network->input;
    int32_t batch, subdivisions;
    dn_net_batch(net, options->stage == DN_STAGE_MASK, &batch, &subdivisions);
    network->batch = options->batch > 0  ? options->batch
                     : options->training ? batch / subdivisions
                                         : 1;
    input->n = network->batch;
    input->c = net->channels;
    input->h = options->height > 0 ? options->height : net->height;
    input->w = options->width > 0 ? options->width : net->width;
    if (net->inputs > 0 && net->channels == 0) {
        input->c = net->inputs;
        input->h = input->w = 1;
    }
    int64_t values;
    if (input->c < 1 || input->h < 1 || input->w < 1)
        return dn_fail(DN_ERROR_CONFIG, "%s:%d: [net] needs width, height and channels, or inputs",
                       network->cfg->name, network->cfg->sections[0].line);
    if (dn_product(&values, INT64_C(1) << 31, input->n, input->c, input->h, input->w) != DN_OK)
        return dn_fail_prefix(DN_ERROR_CONFIG, "%s:%d: [net] input", network->cfg->name,
                              network->cfg->sections[0].line);
    return DN_OK;
}

static dn_status connect_layer(dn_network *network, dn_layer *layer)
{
    if (layer->type->connect)
        DN_TRY(layer->type->connect(layer, network));
    else
        DN_TRY(dn_add_input(layer, network, -1));
    dn_roi_set *of_inputs = NULL;
    for (int32_t k = 0; k < layer->input_count; k++) {
        const int32_t index = layer->inputs[k];
        dn_roi_set *rois = index < 0 ? NULL : network->layers[index].rois;
        if (k == 0) of_inputs = rois;
        if (of_inputs != rois)
            return dn_layer_fail(layer, network,
                                 "mixes tensors of images and of RoIs (layers %d and %d)",
                                 layer->inputs[0], index);
    }
    if (!layer->rois) layer->rois = of_inputs; /* [roialign] has set its own */
    return DN_OK;
}

static dn_status build_layer(dn_network *network, int32_t index)
{
    dn_cfg *cfg = network->cfg;
    dn_cfg_section *section = &cfg->sections[index + 1];
    dn_layer *layer = &network->layers[index];
    const dn_layer_type *type = dn_layer_type_find(section->name);
    if (!type)
        return dn_fail(DN_ERROR_CONFIG, "%s:%d: unknown section [%s]", cfg->name, section->line,
                       section->name);
    layer->type = type;
    layer->index = index;
    layer->line = section->line;
    layer->options = dn_alloc(type->options_size);
    layer->state = dn_alloc(type->state_size);
    if (!layer->options || !layer->state) return DN_ERROR_MEMORY;
    DN_TRY(dn_options_parse(dn_common_option_table, cfg, section, &layer->common));
    if (type->options) DN_TRY(dn_options_parse(type->options, cfg, section, layer->options));
    DN_TRY(check_keys(network, section));
    return connect_layer(network, layer);
}

dn_status dn_network_read(dn_network *network, const char *path)
{
    DN_TRY(dn_cfg_read(path, false, &network->cfg));
    DN_TRY(read_net_section(network));
    DN_TRY(set_input(network));
    const int32_t count = network->cfg->section_count - 1;
    network->layers = dn_alloc((size_t)count * sizeof *network->layers);
    network->grad_writer = dn_alloc((size_t)count * sizeof *network->grad_writer);
    if (!network->layers || !network->grad_writer) return DN_ERROR_MEMORY;
    for (; network->layer_count < count; network->layer_count++) {
        const dn_status status = build_layer(network, network->layer_count);
        if (status != DN_OK) {
            network->layer_count++; /* so that dn_network_free sees the half-built layer */
            return status;
        }
    }
    DN_TRY(dn_network_set_stage(network));
    return dn_network_setup(network);
}
