/* The network: building it, and freeing it. Its layers, from a cfg: network_cfg.c, what others may
 * ask it: network_info.c, running: executor.c, what trains: stage.c, another input size: resize.c,
 * memory: plan.c, weights files: weights.c. See network.h.
 */
#include "core/network.h"

#include "core/calibration.h"
#include "core/host.h"
#include "core/memory.h"
#include "core/params.h"
#include "core/paster_pool.h"
#include "math/threads.h"

#include <stdio.h>

void dn_network_warn(const dn_network *network, const char *sentence)
{
    if (network->options.warn) network->options.warn(network->options.warn_context, sentence);
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
    dn_network_warn(network, sentence);
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
    DN_TRY(dn_network_read(network, path));
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
    if (!dn_precision_name(options->precision))
        return dn_fail(DN_ERROR_ARGUMENT, "precision=%d is none", (int)options->precision);
    if (!dn_products_name(options->products))
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
    return create(cfg_path, &options, dn_network_read, out);
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
