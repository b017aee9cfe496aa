/* Runs one layer on a backend: dn_test_layer of darknet.h, for tests of kernels.
 *
 * Method: what the layer's pointers lead to is copied into blocks of the backend and the pointers
 * are set to the blocks, as an executor for that backend would have them, workspace, saved values
 * and cache as the backend's form of the layer asks for them; its kernels run; the results are
 * copied out and the old pointers put back. The layer's place is a network of the CPU after a pass
 * with keep_all, so every input is there, and so is what a layer's host code needs (boxes of heads,
 * RoIs).
 */
#include "core/backend.h"
#include "core/memory.h"
#include "core/network.h"

typedef struct dn_moved {
    float **pointer;
    float *host; /* where it led before */
    void *block;
} dn_moved;

typedef struct dn_move {
    const dn_backend *backend;
    int32_t count;
    dn_moved *items;
} dn_move;

static bool moved(const dn_move *move, float *const *pointer)
{
    for (int32_t i = 0; i < move->count; i++)
        if (move->items[i].pointer == pointer) return true;
    return false;
}

/* Sets *pointer to a block with the same values. */
static dn_status move_values(dn_move *move, float **pointer, int64_t floats)
{
    if (!*pointer || moved(move, pointer)) return DN_OK;
    dn_moved *item = &move->items[move->count];
    const size_t bytes = (size_t)floats * sizeof **pointer;
    DN_TRY(move->backend->alloc(bytes, &item->block));
    item->pointer = pointer;
    item->host = *pointer;
    move->count++;
    DN_TRY(move->backend->copy_in(item->block, *pointer, bytes));
    *pointer = item->block;
    return DN_OK;
}

/* Sets *pointer to a block of zeros, of which the host's values may have another number. */
static dn_status make_room(dn_move *move, float **pointer, int64_t floats)
{
    if (floats == 0) return DN_OK;
    dn_moved *item = &move->items[move->count];
    DN_TRY(move->backend->alloc((size_t)floats * sizeof **pointer, &item->block));
    item->pointer = pointer;
    item->host = *pointer;
    move->count++;
    *pointer = item->block;
    return DN_OK;
}

static void put_back(dn_move *move)
{
    for (int32_t i = move->count - 1; i >= 0; i--) {
        *move->items[i].pointer = move->items[i].host;
        move->backend->free(move->items[i].block);
    }
    dn_free(move->items);
}

static dn_status move_layer(dn_move *move, dn_layer *layer, dn_pass *pass)
{
    const bool own_setup = move->backend->kernels(layer->type)->setup != NULL;
    const int64_t values = layer->out.n * dn_tensor_size(&layer->out);
    for (int32_t k = 0; k < layer->input_count; k++) {
        dn_tensor *in = dn_input(layer, pass, k);
        DN_TRY(move_values(move, &in->data, in->n * dn_tensor_size(in)));
        DN_TRY(move_values(move, &in->grad, in->n * dn_tensor_size(in)));
    }
    for (int32_t k = 0; k < layer->param_count; k++) {
        DN_TRY(move_values(move, &layer->params[k].data, layer->params[k].count));
        DN_TRY(move_values(move, &layer->params[k].grad, layer->params[k].count));
    }
    DN_TRY(move_values(move, &layer->out.data, values));
    DN_TRY(move_values(move, &layer->out.grad, values));
    DN_TRY(own_setup ? make_room(move, &layer->cache, layer->cache_floats)
                     : move_values(move, &layer->cache, layer->cache_floats));
    DN_TRY(make_room(move, &layer->saved, layer->saved_floats));
    return make_room(move, &pass->workspace, layer->workspace_floats);
}

/* What the backend's form of a layer changes in it when it is set up. */
typedef struct dn_layer_needs {
    int64_t workspace_floats, saved_floats, cache_floats;
    void *device;
} dn_layer_needs;

static dn_layer_needs needs_of(const dn_layer *layer)
{
    return (dn_layer_needs){layer->workspace_floats, layer->saved_floats, layer->cache_floats,
                            layer->device};
}

static void set_needs(dn_layer *layer, dn_layer_needs needs)
{
    layer->workspace_floats = needs.workspace_floats;
    layer->saved_floats = needs.saved_floats;
    layer->cache_floats = needs.cache_floats;
    layer->device = needs.device;
}

typedef enum dn_way { DN_WAY_IN, DN_WAY_OUT } dn_way;

/* One after the other to or from `host` (advanced). */
static dn_status transfer(const dn_backend *backend, dn_way way, float *block, float **host,
                          int64_t floats)
{
    const size_t bytes = (size_t)floats * sizeof *block;
    if (!block || !*host) return DN_OK;
    DN_TRY(way == DN_WAY_IN ? backend->copy_in(block, *host, bytes)
                            : backend->copy_out(*host, block, bytes));
    *host += floats;
    return DN_OK;
}

static int32_t live_inputs(const dn_layer *layer, const dn_pass *pass, int32_t k)
{
    const int32_t index = layer->inputs[k];
    return index < 0 ? pass->batch : dn_live(&pass->network->layers[index], pass);
}

/* The gradients that backward adds to: the different inputs' and the parameters'. */
static dn_status transfer_grads(const dn_backend *backend, dn_way way, const dn_layer *layer,
                                const dn_pass *pass, float *in_grads, float *param_grads)
{
    for (int32_t k = 0; k < layer->input_count; k++) {
        bool again = false;
        for (int32_t j = 0; j < k; j++) again = again || layer->inputs[j] == layer->inputs[k];
        if (again) continue;
        const dn_tensor *in = dn_input(layer, pass, k);
        const int64_t floats = live_inputs(layer, pass, k) * dn_tensor_size(in);
        DN_TRY(transfer(backend, way, in->grad, &in_grads, floats));
    }
    for (int32_t k = 0; k < layer->param_count; k++)
        DN_TRY(transfer(backend, way, layer->params[k].grad, &param_grads, layer->params[k].count));
    return DN_OK;
}

typedef struct dn_layer_arrays {
    float *out;
    const float *grad_out;
    float *in_grads, *param_grads;
} dn_layer_arrays;

static dn_status run(const dn_backend *backend, dn_layer *layer, const dn_pass *pass,
                     const dn_layer_arrays *arrays)
{
    const dn_layer_kernels *kernels = backend->kernels(layer->type);
    dn_pass forward = *pass;
    forward.training = layer->trains;
    const int64_t room = layer->out.n * dn_tensor_size(&layer->out);
    DN_TRY(backend->zero(layer->out.data, (size_t)room * sizeof(float))); /* the pass's results */
    DN_TRY(kernels->forward(layer, &forward));
    const int64_t values = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    float *out = arrays->out;
    if (!arrays->grad_out) return transfer(backend, DN_WAY_OUT, layer->out.data, &out, values);
    DN_TRY(transfer_grads(backend, DN_WAY_IN, layer, pass, arrays->in_grads, arrays->param_grads));
    DN_TRY(backend->copy_in(layer->out.grad, arrays->grad_out,
                            (size_t)values * sizeof *arrays->grad_out));
    DN_TRY(kernels->backward(layer, pass));
    DN_TRY(backend->synchronise());
    DN_TRY(transfer(backend, DN_WAY_OUT, layer->out.data, &out, values));
    return transfer_grads(backend, DN_WAY_OUT, layer, pass, arrays->in_grads, arrays->param_grads);
}

static dn_status check(const dn_network *network, int32_t index, const dn_backend *backend,
                       bool backward)
{
    if (index < 0 || index >= network->run_count)
        return dn_fail(DN_ERROR_ARGUMENT, "layer %d: the network runs layers 0..%d", index,
                       network->run_count - 1);
    if (!network->options.keep_all || !network->pass.network)
        return dn_fail(DN_ERROR_ARGUMENT, "needs keep_all and a pass before it");
    const dn_layer *layer = &network->layers[index];
    const dn_layer_kernels *kernels = backend->kernels(layer->type);
    if (!kernels)
        return dn_fail(DN_ERROR_DEVICE, "[%s] has no %s form", layer->type->name, backend->name);
    if (backward && (!layer->trains || !kernels->backward))
        return dn_fail(DN_ERROR_ARGUMENT, "layer %d [%s] has no backward here", index,
                       layer->type->name);
    return DN_OK;
}

dn_status dn_test_layer(dn_network *network, int32_t index, const char *device, float *out,
                        const float *grad_out, float *in_grads, float *param_grads)
{
    dn_move move = {0};
    DN_TRY(dn_backend_open(device, &move.backend));
    DN_TRY(check(network, index, move.backend, grad_out != NULL));
    dn_layer *layer = &network->layers[index];
    dn_pass pass = network->pass;
    const size_t capacity = 2 * ((size_t)layer->input_count + (size_t)layer->param_count) + 5;
    move.items = dn_alloc(capacity * sizeof *move.items);
    if (!move.items) return DN_ERROR_MEMORY;
    const dn_layer_arrays arrays = {out, grad_out, in_grads, param_grads};
    const dn_layer_kernels *kernels = move.backend->kernels(layer->type);
    const dn_layer_needs needs = needs_of(layer);
    dn_status status = kernels->setup ? kernels->setup(layer, network) : DN_OK;
    if (status == DN_OK) status = move_layer(&move, layer, &pass);
    if (status == DN_OK) status = run(move.backend, layer, &pass, &arrays);
    put_back(&move);
    if (kernels->destroy) kernels->destroy(layer);
    set_needs(layer, needs);
    return status;
}
