/* The plan's convolutions by the forms that tuning measured (tuning.h). See plan.h. */
#include "infer/plan.h"
#include "infer/tuning.h"

/* Whether the step has a form of its own: links of chains and [deconvolutional] do not. */
static bool can_be_tuned(const dn_step *step)
{
    return step->type == &dn_step_conv && step->form && step->enlargement == 0;
}

static dn_status tune_steps(dn_plan *plan, dn_tuning *tuning)
{
    const int32_t threads = plan->network->options.threads;
    for (int32_t i = 0; i < plan->step_count; i++) {
        dn_step *step = &plan->steps[i];
        if (!can_be_tuned(step)) continue;
        DN_TRY(dn_tuning_choose(tuning, plan->team, threads, &step->call.problem, plan->choice,
                                &step->form, &step->tuned));
    }
    return DN_OK;
}

dn_status dn_plan_tune(dn_plan *plan)
{
    const dn_network *network = plan->network;
    if (!network->tune) return DN_OK;
    dn_tuning tuning = {.warn = network->options.warn,
                        .warn_context = network->options.warn_context};
    dn_status status = dn_tuning_open_cpu(&tuning, network->tune);
    if (status == DN_OK) status = tune_steps(plan, &tuning);
    if (status == DN_OK) dn_tuning_save(&tuning);
    dn_tuning_close(&tuning);
    return status;
}
