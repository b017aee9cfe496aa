/* The memory plan: every activation, gradient, saved tensor and the workspace in one arena.
 *
 * Method. Time runs 0..N-1 forward through the layers and N..2N-1 backward (layer i's backward is
 * at 2N-1-i). Each item has a size and a first and last moment of use; items are placed largest
 * first into the lowest gap that no item alive at the same time touches (greedy by size, as in
 * XNNPACK's planner). Frozen layers and inference know only the forward half, so their activations
 * are reused as soon as the last consumer has read them. What layers that run on the CPU keep for
 * themselves in a network on a device lies, by the same method, in an arena of the host's.
 */
#include "core/host.h"
#include "core/memory.h"

#include <stdlib.h>

typedef struct dn_plan_item {
    int64_t floats;
    int32_t first, last;
    int32_t order; /* of creation: makes sorting stable */
    int64_t offset;
    float **pointer;
} dn_plan_item;

typedef struct dn_plan {
    dn_plan_item *items;
    int32_t count;
} dn_plan;

enum { DN_PLAN_ALIGN = 16 }; /* floats: 64 bytes */

static void add_item(dn_plan *plan, float **pointer, int64_t floats, int32_t first, int32_t last)
{
    const int64_t rounded = (floats + DN_PLAN_ALIGN - 1) / DN_PLAN_ALIGN * DN_PLAN_ALIGN;
    plan->items[plan->count] = (dn_plan_item){rounded, first, last, plan->count, 0, pointer};
    plan->count++;
}

static int by_size(const void *a, const void *b)
{
    const dn_plan_item *left = a, *right = b;
    if (left->floats != right->floats) return left->floats > right->floats ? -1 : 1;
    return left->order < right->order ? -1 : 1;
}

static int by_offset(const void *a, const void *b)
{
    const dn_plan_item *const *left = a, *const *right = b;
    if ((*left)->offset != (*right)->offset) return (*left)->offset < (*right)->offset ? -1 : 1;
    return (*left)->order < (*right)->order ? -1 : 1;
}

/* Places all items; `alive` is scratch for `count` pointers. Returns the arena's size in floats. */
static int64_t place(dn_plan *plan, const dn_plan_item **alive)
{
    qsort(plan->items, (size_t)plan->count, sizeof *plan->items, by_size);
    int64_t total = 0;
    for (int32_t i = 0; i < plan->count; i++) {
        dn_plan_item *item = &plan->items[i];
        int32_t alive_count = 0;
        for (int32_t j = 0; j < i; j++) {
            const dn_plan_item *other = &plan->items[j];
            if (other->last >= item->first && other->first <= item->last)
                alive[alive_count++] = other;
        }
        qsort(alive, (size_t)alive_count, sizeof *alive, by_offset);
        int64_t offset = 0;
        for (int32_t j = 0; j < alive_count && alive[j]->offset < offset + item->floats; j++) {
            const int64_t end = alive[j]->offset + alive[j]->floats;
            if (end > offset) offset = end;
        }
        item->offset = offset;
        if (offset + item->floats > total) total = offset + item->floats;
    }
    return total;
}

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
static void list_items(dn_network *network, dn_plan *plan, dn_plan *host)
{
    const int32_t n = network->run_count, end = 2 * n - 1;
    int64_t workspace = 0, host_workspace = 0, twins = 0;
    for (int32_t i = 0; i < n; i++) {
        dn_layer *layer = &network->layers[i];
        const bool trains = network->options.training && layer->trains;
        const bool on_host = dn_layer_needs_host(network, layer);
        dn_plan *own = on_host ? host : plan;
        const int64_t values = layer->out.n * dn_tensor_size(&layer->out);
        int32_t consumer;
        const int32_t last = last_use(network, i, &consumer);
        network->grad_writer[i] = consumer;
        add_item(plan, &layer->out.data, values, i, last);
        layer->out.grad = NULL;
        if (trains)
            add_item(plan, &layer->out.grad, values, network->options.keep_all ? 0 : end - consumer,
                     network->options.keep_all ? end : end - i);
        layer->saved = NULL;
        if (layer->saved_floats)
            add_item(own, &layer->saved, layer->saved_floats, i, trains ? end - i : last);
        layer->cache = NULL;
        if (layer->cache_floats) add_item(own, &layer->cache, layer->cache_floats, 0, end);
        if (on_host) twins = larger(twins, dn_twin_floats(layer, network));
        int64_t *most = on_host ? &host_workspace : &workspace;
        *most = larger(*most, layer->workspace_floats);
    }
    if (network->options.input_grad)
        add_item(plan, &network->input.grad, network->input.n * dn_tensor_size(&network->input), 0,
                 end);
    add_item(plan, &network->workspace, workspace, 0, end);
    if (!network->host) return; /* the input stays where the caller has it */
    add_item(plan, &network->input.data, network->input.n * dn_tensor_size(&network->input), 0,
             end);
    add_item(host, &network->host->workspace, host_workspace, 0, end);
    add_item(host, &network->host->twins, twins, 0, end);
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

static void set_pointers(const dn_plan *plan, float *arena)
{
    for (int32_t i = 0; i < plan->count; i++)
        *plan->items[i].pointer = arena + plan->items[i].offset;
}

dn_status dn_network_plan(dn_network *network)
{
    const size_t capacity = 4 * (size_t)network->run_count + 3;
    dn_plan plan = {dn_alloc(capacity * sizeof *plan.items), 0};
    dn_plan host = {dn_alloc(capacity * sizeof *host.items), 0};
    const dn_plan_item **alive = dn_alloc(capacity * sizeof *alive);
    dn_status status = plan.items && host.items && alive ? DN_OK : DN_ERROR_MEMORY;
    if (status == DN_OK) {
        list_items(network, &plan, &host);
        status = reserve(network, place(&plan, alive));
        if (status == DN_OK) status = reserve_host(network->host, place(&host, alive));
    }
    if (status == DN_OK) {
        set_pointers(&plan, network->arena);
        set_pointers(&host, network->host ? network->host->arena : NULL);
    }
    dn_free(alive);
    dn_free(host.items);
    dn_free(plan.items);
    return status;
}
