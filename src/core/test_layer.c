/* Runs one layer on a backend: dn_test_layer of darknet.h, for tests of kernels.
 *
 * Method: what the layer's pointers lead to is copied into blocks of the backend and the pointers
 * are set to the blocks, as the executor of a network there has them; the backend's kernels are set
 * up and run; the results are copied out and the old pointers put back. The layer's place is a
 * network of the CPU after a pass with keep_all, so every input is there, and so is what a layer's
 * host code needs (boxes of heads, RoIs).
 */
#include "core/layer_arrays.h"
#include "core/memory.h"
#include "core/network.h"

typedef struct dn_move {
    const dn_backend *backend;
    int32_t count;
    dn_layer_array *items; /* whose pointers lead to blocks */
} dn_move;

/* Leads the pointer of the next item to a block, zeroed or with the same values. */
static dn_status move_item(dn_move *move, const dn_layer_array *item, const float *values)
{
    void *block;
    const size_t bytes = (size_t)item->floats * sizeof *values;
    DN_TRY(move->backend->alloc(bytes, &block));
    move->items[move->count++] = *item;
    *item->pointer = block;
    return values ? move->backend->copy_in(block, values, bytes) : DN_OK;
}

static void put_back(dn_move *move)
{
    for (int32_t i = 0; i < move->count; i++) move->backend->free(*move->items[i].pointer);
    dn_put_back(move->items, move->count);
    dn_free(move->items);
}

/* The layer's own memory in the sizes that its form on the backend asks for, empty; but a form that
 * does not set itself up finds what the CPU's has in its cache. */
static dn_status move_own(dn_move *move, dn_layer *layer, dn_pass *pass)
{
    const bool sets_up = move->backend->kernels(layer->type)->setup != NULL;
    const struct {
        float **pointer;
        int64_t floats;
        const float *values;
    } own[] = {{&layer->saved, layer->saved_floats, NULL},
               {&layer->cache, layer->cache_floats, sets_up ? NULL : layer->cache},
               {&pass->workspace, layer->workspace_floats, NULL}};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        const dn_layer_array item = {DN_ARRAY_OWN, own[i].pointer, *own[i].pointer, own[i].floats,
                                     layer->index};
        if (item.floats > 0) DN_TRY(move_item(move, &item, own[i].values));
    }
    return DN_OK;
}

static dn_status move_layer(dn_move *move, dn_layer *layer, dn_pass *pass)
{
    const size_t limit = dn_layer_array_limit(layer);
    dn_layer_array *listed = dn_alloc(limit * sizeof *listed);
    move->items = dn_alloc((limit + 3) * sizeof *move->items);
    dn_status status = listed && move->items ? DN_OK : DN_ERROR_MEMORY;
    const int32_t count = status == DN_OK ? dn_layer_arrays(layer, pass->network, listed) : 0;
    for (int32_t i = 0; i < count && status == DN_OK; i++)
        status = move_item(move, &listed[i], listed[i].home);
    dn_free(listed);
    return status == DN_OK ? move_own(move, layer, pass) : status;
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

typedef struct dn_given {
    float *out;
    const float *grad_out;
    float *in_grads, *param_grads;
} dn_given;

/* The gradients that backward adds to: the different inputs' and the parameters'. */
static dn_status transfer_grads(const dn_move *move, dn_way way, const dn_pass *pass,
                                const dn_given *given)
{
    float *in_grads = given->in_grads, *param_grads = given->param_grads;
    for (int32_t i = 0; i < move->count; i++) {
        const dn_layer_array *item = &move->items[i];
        const bool of_input = item->role == DN_ARRAY_IN_GRAD;
        if (!of_input && item->role != DN_ARRAY_PARAM_GRAD) continue;
        DN_TRY(transfer(move->backend, way, *item->pointer, of_input ? &in_grads : &param_grads,
                        dn_live_floats(item, pass)));
    }
    return DN_OK;
}

/* Zeroes what forward is to write: the block holds the results of the pass. */
static dn_status forget(const dn_backend *backend, const dn_layer *layer)
{
    const int64_t values = layer->out.n * dn_tensor_size(&layer->out);
    return backend->zero(layer->out.data, (size_t)values * sizeof(float));
}

static dn_status run(const dn_move *move, dn_layer *layer, const dn_pass *pass,
                     const dn_given *given)
{
    const dn_backend *backend = move->backend;
    const dn_layer_kernels *kernels = backend->kernels(layer->type);
    dn_pass forward = *pass;
    forward.training = layer->trains;
    DN_TRY(forget(backend, layer));
    DN_TRY(kernels->forward(layer, &forward));
    const int64_t values = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    float *out = given->out;
    if (!given->grad_out) return transfer(backend, DN_WAY_OUT, layer->out.data, &out, values);
    DN_TRY(transfer_grads(move, DN_WAY_IN, pass, given));
    DN_TRY(backend->copy_in(layer->out.grad, given->grad_out,
                            (size_t)values * sizeof *given->grad_out));
    DN_TRY(kernels->backward(layer, pass));
    DN_TRY(backend->synchronise());
    DN_TRY(transfer(backend, DN_WAY_OUT, layer->out.data, &out, values));
    return transfer_grads(move, DN_WAY_OUT, pass, given);
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
    int32_t number;
    if (network->backend != &dn_cpu_backend)
        return dn_fail(DN_ERROR_ARGUMENT, "needs a network on the CPU");
    DN_TRY(dn_backend_open(device, &move.backend, &number));
    DN_TRY(check(network, index, move.backend, grad_out != NULL));
    dn_layer *layer = &network->layers[index];
    dn_pass pass = network->pass;
    const dn_given given = {out, grad_out, in_grads, param_grads};
    const dn_layer_kernels *kernels = move.backend->kernels(layer->type);
    const int64_t sizes[] = {layer->workspace_floats, layer->saved_floats, layer->cache_floats};
    dn_status status = kernels->setup ? kernels->setup(layer, network) : DN_OK;
    if (status == DN_OK) status = move_layer(&move, layer, &pass);
    if (status == DN_OK) status = run(&move, layer, &pass, &given);
    put_back(&move);
    if (kernels->destroy) kernels->destroy(layer);
    layer->device = NULL;
    layer->workspace_floats = sizes[0];
    layer->saved_floats = sizes[1];
    layer->cache_floats = sizes[2];
    return status;
}
