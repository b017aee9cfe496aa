/* The network: building it from a cfg. What others may ask it: network_info.c, running: executor.c,
 * what trains: stage.c, another input size: resize.c, memory: plan.c, weights files: weights.c. See
 * network.h. */
#include "core/network.h"

#include "core/calibration.h"
#include "core/host.h"
#include "core/memory.h"
#include "core/params.h"
#include "core/paster_pool.h"
#include "math/threads.h"

#include <stdio.h>
#include <string.h>

static void warn(const dn_network *network, const char *sentence)
{
    if (network->options.warn) network->options.warn(network->options.warn_context, sentence);
}

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
        warn(network, dn_error_message());
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

/* Everything but memory for activations and parameters. */
static dn_status outline(dn_network *network, const char *path)
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

static dn_status open_device(dn_network *network)
{
    const char *device = network->options.device;
    network->options.device = NULL; /* the caller's text */
    DN_TRY(dn_backend_open(device, &network->backend, &network->device));
    const bool scales = network->options.training && network->options.products == DN_PRODUCTS_F16;
    if (scales && network->backend != &dn_cpu_backend) network->loss_scale = DN_FIRST_LOSS_SCALE;
    const char *name = network->backend->name;
    if (network->backend == &dn_cpu_backend)
        snprintf(network->device_name, sizeof network->device_name, "%s", name);
    else
        snprintf(network->device_name, sizeof network->device_name, "%s:%d", name, network->device);
    return DN_OK;
}

/* Published networks need up to .72 trillion operations an image at their own sizes. */
static void warn_of_work(const dn_network *network)
{
    char sentence[512];
    double operations = 0;
    for (int32_t i = 0; i < network->layer_count; i++)
        operations += (double)network->layers[i].flops;
    if (operations < 2e12) return;
    snprintf(sentence, sizeof sentence,
             "%s: an image of %d x %d takes %.1f trillion operations, which may take minutes",
             network->cfg->name, network->input.w, network->input.h, operations / 1e12);
    warn(network, sentence);
}

/* Which precisions there are where. */
static dn_status check_precision(const dn_network *network)
{
    const dn_precision precision = network->options.precision;
    const bool cpu = network->backend == &dn_cpu_backend, int8 = dn_precision_is_int8(precision);
    if (precision == DN_PRECISION_FP16 && cpu)
        return dn_fail(DN_ERROR_ARGUMENT, "precision fp16 needs a GPU; on the CPU f32, exact, "
                                          "plain, bf16 or int8 are allowed");
    if ((int8 || precision == DN_PRECISION_BF16_EVERYWHERE) && !cpu)
        return dn_fail(DN_ERROR_ARGUMENT,
                       "precision %s needs the CPU; on a GPU f32, exact, plain, fp16 or bf16 are "
                       "allowed",
                       int8 ? "int8" : "bf16-everywhere");
    if (int8 && !network->options.calibration)
        return dn_fail(DN_ERROR_ARGUMENT,
                       "precision int8 needs a calibration file, which \"darknet calibrate CFG "
                       "WEIGHTS IMAGES -out FILE\" makes");
    if (!int8 && network->options.calibration)
        return dn_fail(DN_ERROR_ARGUMENT, "%s: a calibration file is for precision int8 only",
                       network->options.calibration);
    return DN_OK;
}

/* The caller's text is not looked at again. */
static dn_status take_calibration(dn_network *network)
{
    const char *path = network->options.calibration;
    network->options.calibration = NULL;
    return path ? dn_calibration_read(network, path) : DN_OK;
}

/* The plan that asks for the file comes later. */
static dn_status take_tune(dn_network *network)
{
    const char *path = network->options.tune;
    network->options.tune = NULL;
    if (path) network->tune = dn_strdup(path);
    return path && !network->tune ? DN_ERROR_MEMORY : DN_OK;
}

static dn_status build(dn_network *network, const char *path)
{
    DN_TRY(open_device(network));
    DN_TRY(check_precision(network));
    DN_TRY(outline(network, path));
    DN_TRY(take_calibration(network));
    DN_TRY(take_tune(network));
    warn_of_work(network);
    DN_TRY(dn_host_create(network));
    DN_TRY(dn_network_plan(network));
    DN_TRY(dn_params_place(network));
    return network->backend->synchronise();
}

/* Sizes as in a cfg; more threads than that would only fill memory. */
static dn_status check_options(const dn_network_options *options)
{
    const struct {
        const char *name;
        int32_t value, limit;
    } fields[] = {
        {"batch", options->batch, 65536},
        {"width", options->width, 65536},
        {"height", options->height, 65536},
        {"threads", options->threads, 1024},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].value < 0 || fields[i].value > fields[i].limit)
            return dn_fail(DN_ERROR_ARGUMENT, "%s=%d is out of range 0..%d", fields[i].name,
                           fields[i].value, fields[i].limit);
    if (options->precision < DN_PRECISION_DEFAULT ||
        options->precision > DN_PRECISION_INT8_EVERYWHERE)
        return dn_fail(DN_ERROR_ARGUMENT, "precision=%d is none", (int)options->precision);
    if (options->products < DN_PRODUCTS_F32 || options->products > DN_PRODUCTS_F16)
        return dn_fail(DN_ERROR_ARGUMENT, "products=%d is none", (int)options->products);
    return DN_OK;
}

static dn_status create(const char *cfg_path, const dn_network_options *options,
                        dn_status (*how)(dn_network *, const char *), dn_network **out)
{
    DN_TRY(check_options(options));
    dn_network *network = dn_alloc(sizeof *network);
    if (!network) return DN_ERROR_MEMORY;
    network->options = *options;
    network->weights_version = 1;
    network->frozen_version = 1;
    network->mask_scale_factor = 1;
    network->loss_scale = 1;
    network->version[1] = 2;
    network->version[2] = 5;
    if (network->options.threads < 1) network->options.threads = dn_thread_limit();
    const dn_status status = how(network, cfg_path);
    if (status != DN_OK) {
        dn_network_free(network);
        return status;
    }
    *out = network;
    return DN_OK;
}

dn_status dn_network_create(const char *cfg_path, const dn_network_options *options,
                            dn_network **out)
{
    return create(cfg_path, options, build, out);
}

dn_status dn_network_outline(const char *cfg_path, dn_network **out)
{
    const dn_network_options options = {.threads = 1};
    return create(cfg_path, &options, outline, out);
}

static void free_reached(const dn_backend *backend, void *mark)
{
    if (!mark) return;
    backend->marks->wait(mark);
    backend->marks->free(mark);
}

void dn_input_scratch_free(const dn_backend *backend, dn_input_scratch *scratch)
{
    free_reached(backend, scratch->floats_sent);
    for (int32_t k = 0; k < DN_CHUNKS; k++) free_reached(backend, scratch->sent[k]);
    backend->free_host(scratch->floats);
    backend->free_host(scratch->chunks);
    backend->free(scratch->pixels);
    *scratch = (dn_input_scratch){0};
}

void dn_network_free(dn_network *network)
{
    if (!network) return;
    const dn_backend *backend = network->backend;
    if (backend) backend->select(network->device); /* fails where nothing can be freed either */
    for (int32_t i = 0; i < network->layer_count; i++) {
        dn_layer *layer = &network->layers[i];
        if (!layer->type) continue;
        const dn_layer_kernels *kernels = backend ? backend->kernels(layer->type) : NULL;
        if (kernels && kernels->destroy) kernels->destroy(layer);
        if (layer->state && layer->type->destroy) layer->type->destroy(layer);
        if (layer->type->options) dn_options_free(layer->type->options, layer->options);
        dn_free(layer->options);
        dn_free(layer->state);
        dn_free(layer->inputs);
    }
    if (network->companion.free) network->companion.free(network->companion.data);
    dn_host_free(network);
    dn_params_forget_file(network);
    dn_detections_free(&network->detections);
    dn_options_free(dn_net_option_table, &network->net);
    dn_cfg_free(network->cfg);
    dn_free(network->grad_writer);
    dn_free(network->ranges);
    dn_free(network->tune);
    dn_free(network->layers);
    if (backend) {
        if (backend->masks) backend->masks->free(network->paster);
        dn_paster_pool_leave(network->pasters);
        dn_input_scratch_free(backend, &network->scratch);
        if (network->behind) backend->marks->free(network->behind);
        backend->free(network->params);
        backend->free(network->param_grads);
        backend->free(network->arena);
    }
    dn_free(network);
}
