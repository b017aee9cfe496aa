/* Chains of convolutions (blocked/chain.h) in the plan: which steps make one, and running it. See
 * plan.h. */
#include "infer/plan.h"

/* ---- which ---- */

static bool computes_floats(const dn_step *step)
{
    return step->form && step->form->precision == DN_CONV_F32;
}

/* Whether step s is a convolution on the CPU that reads what the step before it writes, and nobody
 * else does. */
static bool follows(const dn_plan *plan, const dn_plan_layer *layers, int32_t s)
{
    if (s < 1 || s >= plan->step_count) return false;
    const dn_step *step = &plan->steps[s], *before = step - 1;
    if (!computes_floats(step) || !computes_floats(before)) return false;
    if (step->reads_planar || before->writes_planar) return false;
    const dn_plan_layer *between = &layers[before->layer->index];
    return step->reads[0] == before->layer->index && between->consumers == 1 &&
           !between->needs_planar;
}

static bool is_depthwise(const dn_step *step)
{
    return step->call.problem.groups > 1;
}

static void append(dn_chain *chain, const dn_step *step)
{
    const dn_conv_form *form = step->kernels->chain_form(&step->call.problem);
    chain->links[chain->length++] = (dn_chain_link){form, &step->call};
}

/* Adds step s to the chain of the step before it. What is widened for a depthwise step is left to
 * that one's chain. */
static void join(dn_plan *plan, const dn_plan_layer *layers, int32_t s)
{
    dn_step *step = &plan->steps[s], *before = step - 1;
    dn_chain chain = before->chain;
    if (!follows(plan, layers, s) || chain.length == DN_CHAIN_MOST) return;
    const bool next_filters = follows(plan, layers, s + 1) && is_depthwise(step + 1);
    if (chain.length > 1 && !is_depthwise(step) && next_filters) return;
    if (chain.length == 0) append(&chain, before);
    append(&chain, step);
    if (!plan->kernels->chain_fits(&chain)) return;
    before->form = chain.links[chain.length - 2].form;
    step->form = chain.links[chain.length - 1].form;
    step->chain = chain;
    step->type = &dn_step_chain;
    step->own_reads[0] = before->own_reads[0];
    before->type = &dn_step_link;
}

void dn_plan_join_chains(dn_plan *plan, const dn_plan_layer *layers)
{
    for (int32_t s = 1; s < plan->step_count && !plan->device; s++) join(plan, layers, s);
}

const dn_step *dn_plan_first_link(const dn_step *step)
{
    return step->type == &dn_step_chain ? step - (step->chain.length - 1) : step;
}

/* ---- running ---- */

static dn_status chain_begin(dn_plan *plan, dn_step *step, const dn_pass *pass)
{
    dn_step *first = step - (step->chain.length - 1);
    for (dn_step *link = first; link <= step; link++) {
        link->call.problem.images = step->images;
        link->call.packed = link->packed;
        link->call.shift = link->shift;
    }
    first->call.in = step->in[0];
    return dn_step_conv.begin(plan, step, pass);
}

static int32_t chain_tasks(dn_step *step, int32_t phase, int32_t threads)
{
    (void)phase;
    return step->kernels->chain_tasks(&step->chain, threads);
}

static void chain_run(const dn_step *step, int32_t phase, int32_t task, void *scratch)
{
    (void)phase;
    step->kernels->chain_run(&step->chain, task, scratch);
}

static int64_t chain_scratch(const dn_step *step)
{
    return step->kernels->chain_scratch(&step->chain);
}

static int32_t no_tasks(dn_step *step, int32_t phase, int32_t threads)
{
    (void)step, (void)phase, (void)threads;
    return 0;
}

const dn_step_type dn_step_chain = {
    .name = "chain",
    .begin = chain_begin,
    .tasks = chain_tasks,
    .run = chain_run,
    .scratch_bytes = chain_scratch,
};

const dn_step_type dn_step_link = {.name = "link", .tasks = no_tasks};
