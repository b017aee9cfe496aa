/* Running a plan: all threads go through the steps together. See plan.h.
 *
 * A team (team.h) goes through steps with tasks that follow each other, a region, phase by phase.
 * Layers that run as they are bring their own parallel loops: they run between regions.
 */
#include "infer/plan.h"
#include "math/clock.h"

/* Steps that a team works on. */
typedef struct dn_region {
    dn_plan *plan;
    const dn_pass *pass;
    int32_t end;                 /* the last step, exclusive */
    int32_t step, phase, phases; /* now; step == end: done */
    double started;              /* this step */
    dn_status status;
} dn_region;

/* ---- steps ---- */

/* RoIs of the round that begins behind the first `done` of `live`: about the same of each. */
static int32_t round_images(const dn_rounds *rounds, int32_t live)
{
    const int32_t rest = live - rounds->done;
    const int32_t count = (rest + rounds->images - 1) / rounds->images;
    return count > 0 ? (rest + count - 1) / count : 0;
}

static bool in_rounds(const dn_plan *plan, int32_t step)
{
    return plan->rounds.first <= step && step < plan->rounds.end;
}

static dn_status begin(dn_plan *plan, dn_step *step, const dn_pass *pass)
{
    step->live = step->images = step->layer ? dn_live(step->layer, pass) : pass->batch;
    step->first_image = 0;
    if (in_rounds(plan, (int32_t)(step - plan->steps))) {
        step->first_image = plan->rounds.done;
        step->images = round_images(&plan->rounds, step->live);
    }
    return step->type->begin ? step->type->begin(plan, step, pass) : DN_OK;
}

static int32_t phases_of(const dn_step *step)
{
    return step->type->phases ? step->type->phases(step) : 1;
}

/* The step behind the one that is done: the first of the next round where RoIs are left. */
static int32_t next_step(dn_plan *plan, int32_t step)
{
    dn_rounds *rounds = &plan->rounds;
    if (step + 1 != rounds->end || rounds->end == rounds->first) return step + 1;
    rounds->done += plan->steps[step].images;
    if (rounds->done < plan->steps[step].live) return rounds->first;
    rounds->done = 0;
    return rounds->end;
}

/* Goes on to the next phase that has tasks. */
static int32_t advance(void *data)
{
    dn_region *region = data;
    dn_plan *plan = region->plan;
    int32_t tasks = 0;
    while (tasks == 0 && region->step < region->end) {
        dn_step *step = &plan->steps[region->step];
        if (region->phase < 0) {
            region->status = begin(plan, step, region->pass);
            region->phases = region->status == DN_OK && step->images > 0 ? phases_of(step) : 0;
        }
        if (++region->phase < region->phases) {
            tasks = step->type->tasks(step, region->phase, region->pass->threads);
            continue;
        }
        const double now = dn_now();
        step->seconds = (step->first_image > 0 ? step->seconds : 0) + now - region->started;
        region->started = now;
        region->phase = -1;
        region->step = region->status == DN_OK ? next_step(plan, region->step) : region->end;
    }
    return tasks;
}

static void run_task(void *data, int32_t task, int32_t thread)
{
    const dn_region *region = data;
    const dn_plan *plan = region->plan;
    const dn_step *step = &plan->steps[region->step];
    char *scratch = (char *)plan->workspace + plan->shared_bytes + thread * plan->scratch_bytes;
    step->type->run(step, region->phase, task, scratch);
}

/* Steps first..end-1, all with tasks. */
static dn_status run_region(dn_plan *plan, const dn_pass *pass, int32_t first, int32_t end)
{
    dn_region region = {
        .plan = plan, .pass = pass, .end = end, .step = first, .phase = -1, .started = dn_now()};
    const dn_team_work work = {.next = advance, .run = run_task, .data = &region};
    dn_team_run(plan->team, &work);
    return region.status;
}

/* ---- the pass ---- */

static dn_status run_alone(dn_plan *plan, const dn_pass *pass, dn_step *step)
{
    const double start = dn_now();
    const dn_status status = begin(plan, step, pass);
    step->seconds = dn_now() - start;
    return status;
}

static dn_status run_steps(dn_plan *plan, const dn_pass *pass)
{
    int32_t end;
    for (int32_t s = 0; s < plan->step_count; s = end) {
        end = s;
        while (end < plan->step_count && plan->steps[end].type->tasks) end++;
        if (end > s) {
            DN_TRY(run_region(plan, pass, s, end));
            continue;
        }
        DN_TRY(run_alone(plan, pass, &plan->steps[s]));
        end = s + 1;
    }
    return DN_OK;
}

/* Seconds of the steps of the mask branch. */
static double branch_seconds(const dn_plan *plan)
{
    const int32_t branch = dn_network_branch(plan->network);
    double seconds = 0.0;
    if (branch < 0) return seconds;
    for (int32_t s = 0; s < plan->step_count; s++)
        if (plan->steps[s].layer && plan->steps[s].layer->index >= branch)
            seconds += plan->steps[s].seconds;
    return seconds;
}

dn_status dn_plan_run(dn_plan *plan, dn_pass *pass)
{
    DN_TRY(dn_pass_begin(plan->network, pass));
    pass->training = false;
    plan->rounds.done = 0;
    if (plan->device) {
        DN_TRY(plan->device->run(plan, pass)); /* which sets branch_seconds */
        pass->floats = NULL;                   /* others may write there now */
    } else {
        DN_TRY(run_steps(plan, pass));
        plan->network->branch_seconds = branch_seconds(plan);
    }
    dn_pass_end(plan->network, pass);
    return DN_OK;
}
