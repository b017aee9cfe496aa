/* Which form is fastest, by measuring. See tuning.h.
 *
 * The candidates take turns, so that what disturbs the machine for a while disturbs all of them; of
 * each the shortest run counts. Weights that are too large for a cache come from memory in a pass,
 * since the weights of the other layers went through the caches in between: so they do here.
 */
#include "infer/tuning.h"

#include "core/memory.h"
#include "math/clock.h"
#include "math/cpu.h"

#include <stdio.h>
#include <string.h>

enum {
    MOST_CANDIDATES = 4,
    LEAST_ROUNDS = 5, /* behind one that does not count */
    MOST_ROUNDS = 30,
    CACHED_WEIGHTS = 4 << 20, /* bytes: larger ones are read from memory in a pass */
    OTHER_BYTES = 32 << 20    /* that are read between two runs of those */
};

/* For a problem, beyond the least rounds. */
static const double most_seconds = 0.15;

/* A candidate is looked at where its estimate is at most so much larger than the least; another
 * than the estimates' choice has to be so much faster to be taken. */
static const double most_estimate = 1.6, least_gain = 0.97;

/* ---- what is known ---- */

static bool is_form(const char *name)
{
    return dn_conv_form_named(dn_kernels_in_use(), name) != NULL;
}

dn_status dn_tuning_open_cpu(dn_tuning *tuning, const char *path)
{
    snprintf(tuning->machine, sizeof tuning->machine, "%s %s", dn_kernels_in_use()->isa,
             dn_cpu_name());
    tuning->is_form = is_form;
    return dn_tuning_open(tuning, path);
}

/* The problem in words, as docs/formats.md describes them. */
static void describe(char key[DN_TUNING_KEY], const dn_conv_problem *problem, dn_conv_choice choice,
                     int32_t threads)
{
    static const char *const allowed[3][3] = {
        {"f32", "bf16", "int8"},
        {"exact", "exact", "exact"},
        {"f32", "bf16-everywhere", "int8-everywhere"},
    };
    const dn_conv_geometry *g = &problem->geometry;
    snprintf(key, DN_TUNING_KEY,
             "%s threads %d images %d groups %d in %dx%dx%d out %dx%dx%d size %d stride %dx%d pad "
             "%d dilation %d %s%s%s%s%s",
             allowed[choice][problem->precision], threads, problem->images, problem->groups, g->c,
             g->h, g->w, problem->filters, g->out_h, g->out_w, g->size, g->stride_y, g->stride_x,
             g->pad, g->dilation, dn_activation_names[problem->activation],
             problem->planar_in ? " planar-in" : "", problem->planar_out ? " planar-out" : "",
             problem->adds ? " adds " : "",
             problem->adds ? dn_activation_names[problem->after_add] : "");
}

/* ---- measuring ---- */

typedef struct dn_candidate {
    const dn_conv_form *form;
    double estimate, least; /* microseconds, seconds */
    dn_conv_call call;
    void *packed, *shared;
} dn_candidate;

/* A run of a candidate by a team. */
typedef struct dn_trial {
    const dn_conv_form *form;
    const dn_conv_call *call;
    int32_t phase, threads;
    char *scratch;
    int64_t scratch_bytes;
} dn_trial;

static int32_t next_phase(void *data)
{
    dn_trial *trial = data;
    int32_t tasks = 0;
    while (tasks == 0 && ++trial->phase < trial->form->phases)
        tasks = trial->form->tasks(trial->call, trial->phase, trial->threads);
    return tasks;
}

static void run_task(void *data, int32_t task, int32_t thread)
{
    const dn_trial *trial = data;
    trial->form->run(trial->call, trial->phase, task,
                     trial->scratch + thread * trial->scratch_bytes);
}

/* Written memory: pages that nobody wrote are one page, which is always near. */
static void *written(int64_t bytes)
{
    void *block = dn_alloc_unset((size_t)bytes + 64);
    if (block) memset(block, 0, (size_t)bytes + 64);
    return block;
}

/* All that a measurement needs; freed as a whole. */
typedef struct dn_bench {
    dn_candidate candidates[MOST_CANDIDATES];
    int32_t count;
    float *in, *out, *add, *shift;
    char *scratch, *others;
    int64_t scratch_bytes; /* of one thread */
} dn_bench;

static void bench_free(dn_bench *bench)
{
    for (int32_t i = 0; i < bench->count; i++) {
        dn_free(bench->candidates[i].packed);
        dn_free(bench->candidates[i].shared);
    }
    dn_free(bench->in);
    dn_free(bench->out);
    dn_free(bench->add);
    dn_free(bench->shift);
    dn_free(bench->scratch);
    dn_free(bench->others);
}

static dn_blocked view(float *data, bool planar, int32_t lanes, int32_t c, int32_t h, int32_t w)
{
    const int64_t channels = planar ? c : dn_blocks(c, lanes) * lanes;
    return (dn_blocked){data, c, h, w, channels * h * w};
}

/* Memory for one candidate, whose call then can run. */
static bool prepare(dn_bench *bench, dn_candidate *candidate, int32_t lanes)
{
    dn_conv_problem *problem = &candidate->call.problem;
    const dn_conv_geometry *g = &problem->geometry;
    const dn_conv_form *form = candidate->form;
    const int32_t filters = problem->groups * problem->filters;
    problem->precision = form->precision;
    candidate->packed = written(form->packed_bytes(problem));
    candidate->shared = written(form->shared_bytes(problem));
    const int64_t scratch = (form->scratch_bytes(problem) + 63) / 64 * 64;
    if (scratch > bench->scratch_bytes) bench->scratch_bytes = scratch;
    dn_conv_call *call = &candidate->call;
    call->packed = candidate->packed;
    call->shared = candidate->shared;
    call->shift = bench->shift;
    call->in = view(bench->in, problem->planar_in, lanes, problem->groups * g->c, g->h, g->w);
    call->out = view(bench->out, problem->planar_out, lanes, filters, g->out_h, g->out_w);
    if (problem->adds) {
        call->add = call->out;
        call->add.data = bench->add;
    }
    return candidate->packed && candidate->shared;
}

/* Tensors as blocks, which are no smaller than planar ones. */
static dn_status bench_reserve(dn_bench *bench, const dn_conv_problem *problem, int32_t lanes,
                               int32_t threads)
{
    const dn_conv_geometry *g = &problem->geometry;
    const int64_t in_channels = dn_blocks(problem->groups * g->c, lanes) * lanes;
    const int64_t out_channels = dn_blocks(problem->groups * problem->filters, lanes) * lanes;
    const int64_t out_bytes = 4 * problem->images * out_channels * g->out_h * g->out_w;
    bench->in = written(4 * problem->images * in_channels * g->h * g->w);
    bench->out = written(out_bytes);
    bench->add = written(problem->adds ? out_bytes : 0);
    bench->shift = written(4 * out_channels);
    bench->others = written(OTHER_BYTES);
    bool whole = bench->in && bench->out && bench->add && bench->shift && bench->others;
    for (int32_t i = 0; i < bench->count && whole; i++)
        whole = prepare(bench, &bench->candidates[i], lanes);
    if (whole) bench->scratch = written(threads * bench->scratch_bytes);
    return bench->scratch ? DN_OK : DN_ERROR_MEMORY;
}

/* Pushes other things out of the caches; the input, which a pass has just made, comes back. */
static void read_others(const dn_bench *bench, const dn_conv_problem *problem)
{
    const volatile char *others = bench->others;
    const dn_conv_geometry *g = &problem->geometry;
    const volatile char *in = (const volatile char *)bench->in;
    for (int64_t i = 0; i < OTHER_BYTES; i += 64) (void)others[i];
    for (int64_t i = 0; i < (int64_t)4 * problem->groups * g->c * g->h * g->w; i += 64) (void)in[i];
}

static double time_of(const dn_bench *bench, const dn_candidate *candidate, dn_team *team,
                      int32_t threads)
{
    dn_trial trial = {candidate->form, &candidate->call, -1,
                      threads,         bench->scratch,   bench->scratch_bytes};
    const dn_team_work work = {.next = next_phase, .run = run_task, .data = &trial};
    if (candidate->form->packed_bytes(&candidate->call.problem) > CACHED_WEIGHTS)
        read_others(bench, &candidate->call.problem);
    const double start = dn_now();
    dn_team_run(team, &work);
    return dn_now() - start;
}

static void take_turns(dn_bench *bench, dn_team *team, int32_t threads)
{
    const double end = dn_now() + most_seconds;
    for (int32_t round = 0; round <= MOST_ROUNDS; round++) {
        if (round > LEAST_ROUNDS && dn_now() > end) break;
        for (int32_t i = 0; i < bench->count; i++) {
            dn_candidate *candidate = &bench->candidates[i];
            const double seconds = time_of(bench, candidate, team, threads);
            if (round <= 1 || seconds < candidate->least) candidate->least = seconds;
        }
    }
}

/* ---- choosing ---- */

static bool is_allowed(const dn_conv_form *form, const dn_conv_problem *problem,
                       dn_conv_choice choice)
{
    if (!form->fits(problem)) return false;
    if (choice == DN_CHOOSE_EXACT) return form->precision == DN_CONV_F32 && form->exact;
    return form->precision == problem->precision ||
           (choice == DN_CHOOSE_FASTEST && form->precision == DN_CONV_F32);
}

/* Puts it among those with the least estimates, in their order. */
static void enter(dn_bench *bench, const dn_conv_form *form, double estimate)
{
    int32_t place = bench->count;
    while (place > 0 && bench->candidates[place - 1].estimate > estimate) place--;
    if (place == MOST_CANDIDATES) return;
    if (bench->count < MOST_CANDIDATES) bench->count++;
    for (int32_t i = bench->count - 1; i > place; i--)
        bench->candidates[i] = bench->candidates[i - 1];
    bench->candidates[place] = (dn_candidate){.form = form, .estimate = estimate};
}

/* The estimates' own choice comes first. */
static void find_candidates(dn_bench *bench, const dn_kernels *kernels,
                            const dn_conv_problem *problem, dn_conv_choice choice, int32_t threads,
                            const dn_conv_form *chosen)
{
    enter(bench, chosen, 0);
    double least = chosen->cost(problem, threads);
    for (const dn_conv_form *const *form = kernels->conv_forms; *form; ++form) {
        if (*form == chosen || !is_allowed(*form, problem, choice)) continue;
        const double estimate = (*form)->cost(problem, threads);
        if (estimate <= most_estimate * least) enter(bench, *form, estimate);
    }
    for (int32_t i = 0; i < bench->count; i++) bench->candidates[i].call.problem = *problem;
}

static const dn_candidate *fastest(const dn_bench *bench)
{
    const dn_candidate *best = &bench->candidates[0];
    double wanted = least_gain * best->least;
    for (int32_t i = 1; i < bench->count; i++) {
        if (bench->candidates[i].least >= wanted) continue;
        best = &bench->candidates[i];
        wanted = best->least;
    }
    return best;
}

dn_status dn_tuning_choose(dn_tuning *tuning, dn_team *team, int32_t threads,
                           const dn_conv_problem *problem, dn_conv_choice choice,
                           const dn_conv_form **chosen, double *seconds)
{
    const dn_kernels *kernels = dn_kernels_in_use();
    dn_tuned item;
    describe(item.key, problem, choice, threads);
    const dn_tuned *known = dn_tuning_recall(tuning, item.key);
    const dn_conv_form *form = known ? dn_conv_form_named(kernels, known->form) : NULL;
    if (form && is_allowed(form, problem, choice)) {
        *chosen = form;
        *seconds = 1e-6 * known->microseconds;
        return DN_OK;
    }
    dn_bench bench = {0};
    find_candidates(&bench, kernels, problem, choice, threads, *chosen);
    if (bench.count < 2) return DN_OK;
    dn_status status = bench_reserve(&bench, problem, kernels->lanes, threads);
    if (status == DN_OK) {
        take_turns(&bench, team, threads);
        const dn_candidate *best = fastest(&bench);
        *chosen = best->form;
        *seconds = best->least;
        snprintf(item.form, sizeof item.form, "%s", best->form->name);
        item.microseconds = 1e6 * best->least;
        status = dn_tuning_keep(tuning, &item);
    }
    bench_free(&bench);
    return status;
}
