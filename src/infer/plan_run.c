/* Running a plan: all threads go through the steps together. See plan.h.
 *
 * Steps with tasks that follow each other are one parallel region. Its threads claim the tasks of a
 * phase through a counter; whoever ends a phase last sets up the next one and lets the others on.
 * Those wait a little while turning, as long as that has helped lately, and then sleep, so that two
 * threads on one core do not take each other's time. Which thread does a task changes nothing in
 * its result. Layers that run as they are bring their own parallel loops: they run between regions.
 */
#include "core/memory.h"
#include "infer/plan.h"
#include "math/clock.h"
#include "math/threads.h"

#include <pthread.h>
#include <stdatomic.h>

struct dn_waiting {
    pthread_mutex_t mutex; /* of the threads' barrier */
    pthread_cond_t passed;
    atomic_int turns; /* how long a thread waits for others before it sleeps; 0: not yet known */
};

dn_waiting *dn_waiting_new(void)
{
    dn_waiting *waiting = dn_alloc(sizeof *waiting);
    if (!waiting) return NULL;
    pthread_mutex_init(&waiting->mutex, NULL);
    pthread_cond_init(&waiting->passed, NULL);
    return waiting;
}

void dn_waiting_free(dn_waiting *waiting)
{
    if (!waiting) return;
    pthread_cond_destroy(&waiting->passed);
    pthread_mutex_destroy(&waiting->mutex);
    dn_free(waiting);
}

typedef struct dn_team {
    dn_plan *plan;
    const dn_pass *pass;
    int32_t end; /* the region's last step, exclusive */
    int32_t threads;
    int32_t step, phase, phases, tasks; /* now; step == end: done */
    double started;                     /* this step */
    dn_status status;
    atomic_int next;    /* task */
    atomic_int arrived; /* threads that have no more to do in this phase */
    atomic_uint passed; /* phases that are done: what threads wait for */
    atomic_int asleep;
} dn_team;

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
static void advance(dn_team *team)
{
    dn_plan *plan = team->plan;
    team->tasks = 0;
    while (team->tasks == 0 && team->step < team->end) {
        dn_step *step = &plan->steps[team->step];
        if (team->phase < 0) {
            team->status = begin(plan, step, team->pass);
            team->phases = team->status == DN_OK && step->images > 0 ? phases_of(step) : 0;
        }
        if (++team->phase < team->phases) {
            team->tasks = step->type->tasks(step, team->phase, team->threads);
            continue;
        }
        const double now = dn_now();
        step->seconds = (step->first_image > 0 ? step->seconds : 0) + now - team->started;
        team->started = now;
        team->phase = -1;
        team->step = team->status == DN_OK ? next_step(plan, team->step) : team->end;
    }
    atomic_store_explicit(&team->next, 0, memory_order_relaxed);
}

/* ---- the barrier ---- */

enum { DN_TURNS_LEAST = 32, DN_TURNS_FIRST = 1 << 11, DN_TURNS_MOST = 1 << 13 };

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void sleep_until_passed(dn_team *team, unsigned phase)
{
    dn_waiting *waiting = team->plan->waiting;
    pthread_mutex_lock(&waiting->mutex);
    atomic_fetch_add(&team->asleep, 1);
    while (atomic_load(&team->passed) == phase)
        pthread_cond_wait(&waiting->passed, &waiting->mutex);
    atomic_fetch_sub(&team->asleep, 1);
    pthread_mutex_unlock(&waiting->mutex);
}

/* How long threads turn is the plan's, from pass to pass: what helped is allowed longer. */
static void wait_until_passed(dn_team *team, unsigned phase)
{
    atomic_int *allowed = &team->plan->waiting->turns;
    int turns = atomic_load_explicit(allowed, memory_order_relaxed);
    if (turns == 0) turns = DN_TURNS_FIRST;
    for (int32_t i = 0; i < turns; i++) {
        if (atomic_load_explicit(&team->passed, memory_order_acquire) != phase) {
            const int more = turns < DN_TURNS_MOST ? 2 * turns : turns;
            atomic_store_explicit(allowed, more, memory_order_relaxed);
            return;
        }
        pause_briefly();
    }
    const int less = turns > DN_TURNS_LEAST ? turns / 2 : turns;
    atomic_store_explicit(allowed, less, memory_order_relaxed);
    sleep_until_passed(team, phase);
}

static void let_others_on(dn_team *team)
{
    dn_waiting *waiting = team->plan->waiting;
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_fetch_add(&team->passed, 1);
    if (atomic_load(&team->asleep) == 0) return;
    pthread_mutex_lock(&waiting->mutex);
    pthread_cond_broadcast(&waiting->passed);
    pthread_mutex_unlock(&waiting->mutex);
}

static void work(dn_team *team, int32_t thread)
{
    char *scratch = (char *)team->plan->workspace + team->plan->shared_bytes +
                    thread * team->plan->scratch_bytes;
    while (team->step < team->end) {
        const dn_step *step = &team->plan->steps[team->step];
        const int32_t phase = team->phase, tasks = team->tasks;
        const unsigned passed = atomic_load_explicit(&team->passed, memory_order_relaxed);
        for (int32_t task;
             (task = atomic_fetch_add_explicit(&team->next, 1, memory_order_relaxed)) < tasks;)
            step->type->run(step, phase, task, scratch);
        if (atomic_fetch_add(&team->arrived, 1) + 1 == team->threads) {
            advance(team);
            let_others_on(team);
        } else {
            wait_until_passed(team, passed);
        }
    }
}

/* ---- the pass ---- */

/* Steps first..end-1, all with tasks. */
static dn_status run_region(dn_plan *plan, const dn_pass *pass, int32_t first, int32_t end)
{
    dn_team team = {.plan = plan,
                    .pass = pass,
                    .end = end,
                    .threads = pass->threads,
                    .step = first,
                    .phase = -1,
                    .started = dn_now()};
#pragma omp parallel num_threads(pass->threads)
    {
#pragma omp single
        {
            team.threads = dn_team_size();
            advance(&team);
        }
        work(&team, dn_thread_number());
    }
    return team.status;
}

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
    } else {
        DN_TRY(run_steps(plan, pass));
        plan->network->branch_seconds = branch_seconds(plan);
    }
    dn_pass_end(plan->network, pass);
    return DN_OK;
}
