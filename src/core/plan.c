/* The memory plan: every activation, gradient, saved tensor and the workspace in one arena.
 *
 * Method. Time runs 0..N-1 forward through the layers and N..2N-1 backward (layer i's backward is
 * at 2N-1-i). Each item has a size and a first and last moment of use, by which placement.c finds
 * it a place. Frozen layers and inference know only the forward half, so their activations are
 * reused as soon as the last consumer has read them. What layers that run on the CPU keep for
 * themselves in a network on a device lies, by the same method, in an arena of the host's.
 * Where inference has a plan of its own (dn_network_fuses) nothing is reserved, on a device the
 * input alone: whether the network fits this machine is said all the same.
 */
#include "core/host.h"
#include "core/memory.h"
#include "core/placement.h"

/* The last moment at which layer i's output is read, and the layer that reads it last. */
static int32_t last_use(const dn_network *network, int32_t i, int32_t *last_consumer)
{
    const int32_t n = network->run_count, end = 2 * n - 1;
    const bool training = network->options.training;
    const dn_layer *layer = &network->layers[i];
    int32_t last = i;
    *last_consumer = i;
    for (int32_t j = i + 1; j < n; j++) {
        const dn_layer *consumer = &network->layers[j];
        for (int32_t k = 0; k < consumer->input_count; k++) {
            if (consumer->inputs[k] != i) continue;
            *last_consumer = j;
            const int32_t use = training && consumer->trains      ? end - j
                                : consumer->keeps_input && k == 0 ? end
                                                                  : j;
            if (use > last) last = use;
        }
    }
    if (training && layer->trains && end - i > last) last = end - i;
    if (i == n - 1 || layer->keeps_output || network->options.keep_all) last = end;
    return last;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* `host`: what layers keep that run on the CPU while the network does not. */
static void list_items(dn_network *network, dn_placement *plan, dn_placement *host)
{
    const int32_t n = network->run_count, end = 2 * n - 1;
    int64_t workspace = 0, host_workspace = 0, twins = 0;
    for (int32_t i = 0; i < n; i++) {
        dn_layer *layer = &network->layers[i];
        const bool trains = network->options.training && layer->trains;
        const bool on_host = dn_layer_needs_host(network, layer);
        dn_placement *own = on_host ? host : plan;
        const int64_t values = layer->out.n * dn_tensor_size(&layer->out);
        int32_t consumer;
        const int32_t last = last_use(network, i, &consumer);
        network->grad_writer[i] = consumer;
        dn_placement_add(plan, &layer->out.data, values, i, last);
        layer->out.grad = NULL;
        if (trains)
            dn_placement_add(plan, &layer->out.grad, values,
                             network->options.keep_all ? 0 : end - consumer,
                             network->options.keep_all ? end : end - i);
        layer->saved = NULL;
        if (layer->saved_floats)
            dn_placement_add(own, &layer->saved, layer->saved_floats, i, trains ? end - i : last);
        layer->cache = NULL;
        if (layer->cache_floats) dn_placement_add(own, &layer->cache, layer->cache_floats, 0, end);
        if (on_host) twins = larger(twins, dn_twin_floats(layer, network));
        int64_t *most = on_host ? &host_workspace : &workspace;
        *most = larger(*most, layer->workspace_floats);
    }
    if (network->options.input_grad)
        dn_placement_add(plan, &network->input.grad,
                         network->input.n * dn_tensor_size(&network->input), 0, end);
    dn_placement_add(plan, &network->workspace, workspace, 0, end);
    if (!network->host) return; /* the input stays where the caller has it */
    dn_placement_add(plan, &network->input.data, network->input.n * dn_tensor_size(&network->input),
                     0, end);
    dn_placement_add(host, &network->host->workspace, host_workspace, 0, end);
    dn_placement_add(host, &network->host->twins, twins, 0, end);
}

/* Bytes that the network has in the backend's blocks now. */
static size_t held(const dn_network *network)
{
    int64_t floats = network->arena ? network->arena_floats : 0;
    if (network->params) floats += 2 * network->param_floats - network->param_grad_start;
    return (size_t)floats * sizeof(float);
}

/* All that the network will hold at once must fit this machine: block by block it might, and then
 * run for hours against the swap. Of a GPU what others have taken does not count as there. */
static dn_status check_memory(const dn_network *network, int64_t arena_floats)
{
    const double gibibyte = 1 << 30;
    double floats = (double)arena_floats;
    floats += (double)network->input.n * (double)dn_tensor_size(&network->input);
    for (int32_t i = 0; i < network->layer_count; i++) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->param_count; k++)
            floats += (double)layer->params[k].count * (layer->trains ? 2 : 1);
    }
    const double needed = floats * sizeof(float);
    const double there = (double)network->backend->room(held(network));
    if (needed <= there) return DN_OK;
    return dn_fail(DN_ERROR_MEMORY,
                   "%s: %d images of %d x %d at a time need %.1f GiB of memory, %s has %.1f",
                   network->cfg->name, network->input.n, network->input.w, network->input.h,
                   needed / gibibyte, network->host ? "the GPU" : "this machine", there / gibibyte);
}

/* An arena that is large enough stays: a network that was made smaller allocates nothing. */
static dn_status reserve(dn_network *network, int64_t floats)
{
    void *arena;
    if (network->arena && floats <= network->arena_floats) return DN_OK;
    DN_TRY(check_memory(network, floats));
    DN_TRY(network->backend->alloc((size_t)floats * sizeof(float), &arena));
    network->backend->free(network->arena);
    network->arena = arena;
    network->arena_floats = floats;
    return DN_OK;
}

static dn_status reserve_host(dn_host *host, int64_t floats)
{
    if (!host || (host->arena && floats <= host->arena_floats)) return DN_OK;
    float *arena = dn_alloc((size_t)floats * sizeof *arena);
    if (!arena) return DN_ERROR_MEMORY;
    dn_free(host->arena);
    host->arena = arena;
    host->arena_floats = floats;
    return DN_OK;
}

/* All that a network on a device has here where its plan holds the rest. */
static dn_status reserve_input(dn_network *network)
{
    DN_TRY(reserve(network, network->input.n * dn_tensor_size(&network->input)));
    network->input.data = network->arena;
    return DN_OK;
}

static dn_status place(dn_network *network, dn_placement *plan, dn_placement *host)
{
    int64_t floats, host_floats;
    list_items(network, plan, host);
    DN_TRY(dn_placement_find(plan, &floats));
    DN_TRY(dn_placement_find(host, &host_floats));
    if (dn_network_fuses(network)) {
        DN_TRY(check_memory(network, floats));
        dn_placement_point(plan, NULL);
        if (network->host) return reserve_input(network);
        network->arena_floats = floats;
        return DN_OK;
    }
    DN_TRY(reserve(network, floats));
    DN_TRY(reserve_host(network->host, host_floats));
    dn_placement_point(plan, network->arena);
    dn_placement_point(host, network->host ? network->host->arena : NULL);
    return DN_OK;
}

dn_status dn_network_plan(dn_network *network)
{
    const int32_t capacity = 4 * network->run_count + 4;
    dn_placement plan = {0}, host = {0};
    dn_status status = dn_placement_create(&plan, capacity);
    if (status == DN_OK) status = dn_placement_create(&host, capacity);
    if (status == DN_OK) status = place(network, &plan, &host);
    dn_placement_free(&host);
    dn_placement_free(&plan);
    return status;
}
