/* The plan and its network: when it is made, renewed and freed. See plan.h. */
#include "infer/plan.h"

#include "core/memory.h"

static void free_arena(dn_plan *plan)
{
    if (plan->device)
        plan->network->backend->free(plan->arena);
    else
        dn_free(plan->arena);
    plan->arena = NULL;
}

static void plan_free(void *data)
{
    dn_plan *plan = data;
    if (!plan) return;
    if (plan->device) plan->device->close(plan);
    free_arena(plan);
    dn_team_free(plan->team);
    for (int32_t i = 0; i < plan->step_count; i++) dn_free(plan->steps[i].packed);
    dn_free(plan->shifts);
    dn_free(plan->steps);
    dn_free(plan->tensors);
    dn_free(plan);
}

/* On a device they copy inputs (input_send.c): so many are faster than its bus. */
enum { DN_COPIERS = 8 };

static int32_t threads_of(const dn_network *network, bool device)
{
    const int32_t threads = network->options.threads;
    return device && threads > DN_COPIERS ? DN_COPIERS : threads;
}

static dn_plan *plan_new(dn_network *network)
{
    dn_plan *plan = dn_alloc(sizeof *plan);
    if (!plan) return NULL;
    plan->network = network;
    plan->device = network->host ? network->backend->plan : NULL;
    plan->kernels = dn_kernels_in_use();
    plan->lanes = plan->device ? plan->device->lanes : plan->kernels->lanes;
    plan->choice = dn_conv_choice_of(network->options.precision);
    plan->layer_count = network->run_count;
    plan->setups = network->setups;
    plan->team = dn_team_new(threads_of(network, plan->device != NULL));
    if (plan->team) return plan;
    dn_free(plan);
    return NULL;
}

/* The layers' pointers lead into the memory of a plan that is gone. */
static void forget_values(dn_network *network)
{
    for (int32_t i = 0; i < network->layer_count; i++) {
        dn_layer *layer = &network->layers[i];
        layer->out.data = layer->saved = layer->cache = NULL;
    }
}

/* Frees the old plan, whose memory is not needed twice; what is packed alike stays. */
static dn_status fill(dn_plan *plan, dn_plan *old)
{
    if (old && !old->device) free_arena(old);
    dn_status status = dn_plan_compile(plan);
    if (status == DN_OK && old && !plan->device) dn_plan_take_packed(plan, old);
    plan_free(old);
    if (status == DN_OK) status = dn_plan_place(plan);
    if (status == DN_OK && plan->device) status = plan->device->open(plan);
    return status;
}

/* A plan for the network's size, in place of an older one. */
static dn_status make(dn_network *network)
{
    dn_companion *companion = &network->companion;
    dn_plan *plan = plan_new(network), *old = companion->data;
    *companion = (dn_companion){0};
    if (!plan) {
        plan_free(old);
        return DN_ERROR_MEMORY;
    }
    const dn_status status = fill(plan, old);
    if (status != DN_OK) {
        plan_free(plan);
        forget_values(network);
        return status;
    }
    *companion = (dn_companion){plan, plan_free, plan->device ? plan->arena_bytes : 0};
    return DN_OK;
}

dn_status dn_plan_of(dn_network *network, dn_plan **plan)
{
    const dn_plan *made = network->companion.data;
    if (!made || made->setups != network->setups) DN_TRY(make(network));
    dn_plan *current = network->companion.data;
    const uint64_t versions[2] = {network->weights_version, network->frozen_version};
    if (current->weights[0] != versions[0] || current->weights[1] != versions[1]) {
        DN_TRY(current->device ? current->device->pack(current) : dn_plan_pack(current));
        current->weights[0] = versions[0];
        current->weights[1] = versions[1];
    }
    *plan = current;
    return DN_OK;
}
