/* Host copies of what a network holds on a device. See host.h.
 *
 * A copy is as new as its `version` says: of tensors the number of the pass, of parameters the
 * number of their last change (weights_version; of statistics, which training passes change too,
 * the sum of both, which never falls).
 */
#include "core/host.h"

#include "core/memory.h"

#include <string.h>

dn_status dn_host_create(dn_network *network)
{
    if (network->backend == &dn_cpu_backend) return DN_OK;
    const size_t layers = (size_t)network->layer_count, params = layers * DN_MAX_PARAMS;
    size_t arrays = 0;
    for (int32_t i = 0; i < network->layer_count; i++) {
        const size_t limit = dn_layer_array_limit(&network->layers[i]);
        if (limit > arrays) arrays = limit;
    }
    dn_host *host = network->host = dn_alloc(sizeof *host);
    if (!host) return DN_ERROR_MEMORY;
    host->arrays = dn_alloc(arrays * sizeof *host->arrays);
    host->outs = dn_alloc(layers * sizeof *host->outs);
    host->grads = dn_alloc(layers * sizeof *host->grads);
    host->params = dn_alloc(params * sizeof *host->params);
    host->param_grads = dn_alloc(params * sizeof *host->param_grads);
    const bool all = host->arrays && host->outs && host->grads && host->params && host->param_grads;
    return all ? DN_OK : DN_ERROR_MEMORY;
}

static void free_mirrors(const dn_backend *backend, dn_mirror *mirrors, int64_t count)
{
    for (int64_t i = 0; mirrors && i < count; i++) backend->free_host(mirrors[i].values);
    dn_free(mirrors);
}

void dn_host_free(dn_network *network)
{
    dn_host *host = network->host;
    if (!host) return;
    const int64_t layers = network->layer_count;
    const dn_backend *backend = network->backend;
    free_mirrors(backend, host->outs, layers);
    free_mirrors(backend, host->grads, layers);
    free_mirrors(backend, host->params, layers * DN_MAX_PARAMS);
    free_mirrors(backend, host->param_grads, layers * DN_MAX_PARAMS);
    backend->free_host(host->input_grad.values);
    dn_free(host->arrays);
    dn_free(host->arena);
    dn_free(host);
    network->host = NULL;
}

/* ---- tensors ---- */

/* Renews the first `live` of `floats` values where they are older than `version`. */
static dn_status renew(const dn_network *network, dn_mirror *mirror, const float *block,
                       int64_t floats, int64_t live, uint64_t version)
{
    if (mirror->floats < floats || !mirror->values) {
        void *values;
        DN_TRY(network->backend->alloc_host((size_t)floats * sizeof *mirror->values, &values));
        network->backend->free_host(mirror->values);
        *mirror = (dn_mirror){values, floats, 0};
    }
    if (mirror->version == version) return DN_OK;
    DN_TRY(network->backend->copy_out(mirror->values, block, (size_t)live * sizeof *block));
    mirror->version = version;
    return DN_OK;
}

/* Whether the pointer leads to a twin: the layer that runs now reads it. */
static bool is_twin(const dn_host *host, const float *values)
{
    return host->arena && values >= host->arena && values < host->arena + host->arena_floats;
}

static dn_status tensor(const dn_layer *layer, const dn_pass *pass, dn_mirror *mirror,
                        const float *block, const float **values)
{
    const dn_network *network = pass->network;
    const int64_t size = dn_tensor_size(&layer->out);
    if (!network->host || !block || is_twin(network->host, block)) {
        *values = block;
        return DN_OK;
    }
    DN_TRY(renew(network, mirror, block, layer->out.n * size, dn_live(layer, pass) * size,
                 network->passes));
    *values = mirror->values;
    return DN_OK;
}

dn_status dn_host_output(const dn_layer *layer, const dn_pass *pass, const float **out)
{
    dn_host *host = pass->network->host;
    return tensor(layer, pass, host ? &host->outs[layer->index] : NULL, layer->out.data, out);
}

dn_status dn_host_grad(const dn_layer *layer, const dn_pass *pass, const float **grad)
{
    dn_host *host = pass->network->host;
    return tensor(layer, pass, host ? &host->grads[layer->index] : NULL, layer->out.grad, grad);
}

dn_status dn_host_input_grad(const dn_network *network, const float **grad)
{
    const dn_tensor *input = &network->input;
    *grad = input->grad;
    if (!network->host || !input->grad) return DN_OK;
    const int64_t floats = input->n * dn_tensor_size(input);
    DN_TRY(
        renew(network, &network->host->input_grad, input->grad, floats, floats, network->passes));
    *grad = network->host->input_grad.values;
    return DN_OK;
}

/* ---- parameters ---- */

static uint64_t param_version(const dn_network *network, const dn_param *param)
{
    return network->weights_version + (param->flags & DN_PARAM_STATISTIC ? network->passes : 0);
}

/* The values and, behind them, the same once more to tell what the caller has changed. */
static dn_status renew_param(const dn_network *network, dn_mirror *mirror, const dn_param *param)
{
    const uint64_t version = param_version(network, param);
    if (mirror->values && mirror->version == version) return DN_OK;
    DN_TRY(renew(network, mirror, param->data, 2 * param->count, param->count, version));
    memcpy(mirror->values + param->count, mirror->values,
           (size_t)param->count * sizeof *mirror->values);
    return DN_OK;
}

dn_status dn_host_param(dn_network *network, int32_t layer, int32_t k, float **data, float **grad)
{
    const dn_param *param = &network->layers[layer].params[k];
    *data = param->data;
    *grad = param->grad;
    if (!network->host) return DN_OK;
    const int32_t at = layer * DN_MAX_PARAMS + k;
    dn_mirror *values = &network->host->params[at], *grads = &network->host->param_grads[at];
    DN_TRY(renew_param(network, values, param));
    *data = values->values;
    if (!param->grad) return DN_OK;
    grads->version = 0; /* passes and steps of the optimizer change them */
    DN_TRY(renew(network, grads, param->grad, param->count, param->count, 1));
    *grad = grads->values;
    return DN_OK;
}

/* Brings in the arrays that differ from what was handed out. */
static dn_status bring_in(const dn_network *network)
{
    for (int32_t i = 0; i < network->layer_count; i++)
        for (int32_t k = 0; k < network->layers[i].param_count; k++) {
            const dn_param *param = &network->layers[i].params[k];
            const dn_mirror *mirror = &network->host->params[i * DN_MAX_PARAMS + k];
            const size_t bytes = (size_t)param->count * sizeof *mirror->values;
            if (!mirror->values) continue;
            float *before = mirror->values + param->count;
            if (memcmp(before, mirror->values, bytes) == 0) continue;
            DN_TRY(network->backend->copy_in(param->data, mirror->values, bytes));
            memcpy(before, mirror->values, bytes);
        }
    return DN_OK;
}

dn_status dn_network_enter(const dn_network *network)
{
    const dn_backend *backend = network->backend;
    DN_TRY(backend->select(network->device));
    if (network->behind) DN_TRY(backend->marks->follow(network->behind));
    if (!network->host || !network->host->touched) return DN_OK;
    DN_TRY(bring_in(network));
    network->host->touched = false;
    return DN_OK;
}
