/* What a plan did in its last pass: see dn_step_info in darknet.h. */
#include "infer/plan.h"

int32_t dn_network_step_count(const dn_network *network)
{
    const dn_plan *plan = network->companion.data;
    return plan ? plan->step_count : 0;
}

static int64_t flops_of(const dn_plan *plan, const dn_step *step)
{
    int64_t flops = 0;
    if (!step->layer || step->type == &dn_step_to_blocked || step->type == &dn_step_to_planar ||
        step->type == &dn_step_link)
        return 0;
    for (int32_t i = dn_plan_first_link(step)->first_layer; i <= step->layer->index; i++)
        flops += plan->network->layers[i].flops;
    return flops * step->live;
}

static const char *form_name(const dn_plan *plan, const dn_step *step)
{
    if (step->form) return step->form->name;
    return plan->device && step->type == &dn_step_conv ? plan->device->form_name(plan, step) : "";
}

/* Of a convolution by itself: a chain's links have no time of their own. */
static double expected(const dn_step *step)
{
    if (step->tuned > 0) return step->tuned;
    if (!step->form || step->type != &dn_step_conv) return 0;
    return 1e-6 * step->form->cost(&step->call.problem, DN_JUDGED_THREADS);
}

dn_status dn_network_get_step(const dn_network *network, int32_t index, dn_step_info *info)
{
    const dn_plan *plan = network->companion.data;
    const int32_t count = dn_network_step_count(network);
    if (index < 0 || index >= count)
        return dn_fail(DN_ERROR_ARGUMENT, "step %d: there are %d", index, count);
    const dn_step *step = &plan->steps[index];
    const dn_tensor *out = step->layer ? &step->layer->out : &network->input;
    *info = (dn_step_info){
        .kind = step->type->name,
        .form = form_name(plan, step),
        .first_layer = dn_plan_first_link(step)->first_layer,
        .last_layer = step->layer ? step->layer->index : -1,
        .images = step->live,
        .c = out->c,
        .h = out->h,
        .w = out->w,
        .flops = flops_of(plan, step),
        .seconds = step->seconds,
        .expected = expected(step),
        .tuned = step->tuned > 0,
    };
    return DN_OK;
}

dn_status dn_test_plan_memory(const dn_network *network, dn_test_memory *memory)
{
    const dn_plan *plan = network->companion.data;
    if (!plan) return dn_fail(DN_ERROR_ARGUMENT, "needs a pass by a plan");
    *memory = (dn_test_memory){
        .parameters = network->param_floats * (int64_t)sizeof(float),
        .arena = plan->arena_bytes,
        .live = plan->live_bytes,
    };
    for (int32_t i = 0; i < plan->step_count; i++) {
        memory->packed += plan->steps[i].packed_bytes;
        memory->kept += plan->steps[i].was_kept ? plan->steps[i].packed_bytes : 0;
    }
    return DN_OK;
}
