/* Winograd's forms of a 3x3 convolution, stride 1: F(m x m, 3 x 3) for m of 2 to 7 (winograd.h).
 *
 * Two ways through memory. Where U is small and there are many tiles, a task takes a group of them
 * all the way: transforms its input, and multiplies, transforms back and stores panel by panel, all
 * of it in the second cache ("fused"). Where U is large, all of V is made first; then a task takes
 * some panels and a group of tiles as large as the cache allows, so that U is read from memory
 * once.
 */
#include "blocked/throughput.h"
#include "blocked/winograd.h"

enum {
    CACHE_BYTES = DN_LANES >= 16 ? 800 << 10 : 384 << 10, /* of the second cache, for our use */
    MOST_PANELS = 4,                                      /* of one task */
};

dn_winograd_plan DN_ISA_NAME(dn_winograd_plan_of)(const dn_winograd_kind *kind,
                                                  const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    dn_winograd_plan plan = {.alpha = kind->m + 2};
    plan.positions = plan.alpha * plan.alpha;
    plan.tiles_y = dn_up_to(g->out_h, kind->m);
    plan.tiles_x = dn_up_to(g->out_w, kind->m);
    plan.tiles = problem->images * plan.tiles_y * plan.tiles_x;
    plan.blocks = dn_blocks(g->c, DN_LANES);
    plan.channels = dn_up_to(g->c, DN_CHANNEL_STEP) * DN_CHANNEL_STEP;
    plan.panels = dn_up_to(problem->filters, DN_PANEL);
    const int32_t product_floats = (plan.positions + 1) * DN_PANEL; /* of one tile */
    const int32_t v_floats = plan.positions * plan.blocks * DN_LANES;
    /* What follows must not need more memory for fewer images: `fused` does not look at them. */
    const int32_t whole = CACHE_BYTES / 4 / (v_floats + product_floats) / DN_ROWS * DN_ROWS;
    plan.fused = whole >= 2 * DN_ROWS && plan.tiles_y * plan.tiles_x >= 4 * whole;
    plan.most_tiles = plan.fused ? whole : CACHE_BYTES / 8 / product_floats / DN_ROWS * DN_ROWS;
    plan.groups = dn_up_to(plan.tiles, plan.most_tiles);
    if (plan.fused && plan.groups < 32) plan.groups = dn_up_to(plan.groups, 4) * 4;
    plan.group_tiles = dn_up_to(plan.tiles, plan.groups);
    plan.task_panels = 1;
    while (!plan.fused && plan.task_panels < MOST_PANELS &&
           plan.task_panels * 2 * plan.group_tiles <= plan.most_tiles &&
           plan.groups * dn_up_to(plan.panels, plan.task_panels * 2) >= 16)
        plan.task_panels *= 2;
    return plan;
}

static bool fits(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    return g->size == 3 && g->stride_x == 1 && g->stride_y == 1 && g->dilation == 1 &&
           problem->groups == 1 && !problem->planar_in && !problem->planar_out;
}

/* Microseconds. Cycles: the products at most of the peak, transforms by the vector; then the
 * stream of U, which comes from memory where it is too large for a cache. */
static double cost(const dn_winograd_kind *kind, const dn_conv_problem *problem, int32_t threads)
{
    const dn_winograd_plan plan = DN_ISA_NAME(dn_winograd_plan_of)(kind, problem);
    const double positions = plan.positions, tiles = plan.tiles;
    const double vectors = (double)plan.panels * DN_PANEL_VECTORS;
    const double products = positions * tiles * vectors * plan.channels / 0.75;
    const double transforms = positions * tiles * (plan.blocks + vectors) * 8.4;
    const double bytes = positions * plan.channels * plan.panels * DN_PANEL * 4;
    const double compute = (products + transforms) / DN_PRODUCTS_A_CYCLE / 3500 / threads;
    const double memory = bytes > 4e6 ? bytes / 18e3 : 0;
    return 6 + (compute > memory ? compute + 0.15 * memory : memory + 0.15 * compute);
}

static int64_t packed_bytes(const dn_winograd_plan *plan)
{
    return (int64_t)plan->positions * plan->channels * plan->panels * DN_PANEL * 4;
}

/* The form of one m. */
#define FORM(m)                                                                                    \
    static dn_winograd_plan plan_##m(const dn_conv_problem *problem)                               \
    {                                                                                              \
        return DN_ISA_NAME(dn_winograd_plan_of)(&DN_WINOGRAD_KIND(m), problem);                    \
    }                                                                                              \
    static double cost_##m(const dn_conv_problem *problem, int32_t threads)                        \
    {                                                                                              \
        return cost(&DN_WINOGRAD_KIND(m), problem, threads);                                       \
    }                                                                                              \
    static int64_t packed_bytes_##m(const dn_conv_problem *problem)                                \
    {                                                                                              \
        const dn_winograd_plan plan = plan_##m(problem);                                           \
        return packed_bytes(&plan);                                                                \
    }                                                                                              \
    static int32_t pack_tasks_##m(const dn_conv_problem *problem)                                  \
    {                                                                                              \
        return plan_##m(problem).panels;                                                           \
    }                                                                                              \
    static void pack_##m(const dn_conv_problem *problem, const float *weights,                     \
                         const float *factor, void *packed, int32_t task)                          \
    {                                                                                              \
        DN_ISA_NAME(dn_winograd_pack)                                                              \
        (&DN_WINOGRAD_KIND(m), problem, weights, factor, packed, task);                            \
    }                                                                                              \
    static int64_t shared_bytes_##m(const dn_conv_problem *problem)                                \
    {                                                                                              \
        const dn_winograd_plan plan = plan_##m(problem);                                           \
        return DN_ISA_NAME(dn_winograd_shared_bytes)(&plan);                                       \
    }                                                                                              \
    static int64_t scratch_bytes_##m(const dn_conv_problem *problem)                               \
    {                                                                                              \
        const dn_winograd_plan plan = plan_##m(problem);                                           \
        return DN_ISA_NAME(dn_winograd_scratch_bytes)(&plan);                                      \
    }                                                                                              \
    static int32_t tasks_##m(const dn_conv_call *call, int32_t phase, int32_t threads)             \
    {                                                                                              \
        const dn_winograd_plan plan = plan_##m(&call->problem);                                    \
        (void)threads;                                                                             \
        return DN_ISA_NAME(dn_winograd_tasks)(&plan, phase);                                       \
    }                                                                                              \
    static void run_##m(const dn_conv_call *call, int32_t phase, int32_t task, void *scratch)      \
    {                                                                                              \
        DN_ISA_NAME(dn_winograd_run)(&DN_WINOGRAD_KIND(m), call, phase, task, scratch);            \
    }                                                                                              \
    extern const dn_conv_form DN_ISA_NAME(dn_conv_winograd##m);                                    \
    const dn_conv_form DN_ISA_NAME(dn_conv_winograd##m) = {                                        \
        .name = "winograd" #m,                                                                     \
        .phases = 2,                                                                               \
        .fits = fits,                                                                              \
        .cost = cost_##m,                                                                          \
        .packed_bytes = packed_bytes_##m,                                                          \
        .pack_tasks = pack_tasks_##m,                                                              \
        .pack = pack_##m,                                                                          \
        .shared_bytes = shared_bytes_##m,                                                          \
        .scratch_bytes = scratch_bytes_##m,                                                        \
        .tasks = tasks_##m,                                                                        \
        .run = run_##m,                                                                            \
    };

FORM(2)
FORM(3)
FORM(4)
FORM(5)
FORM(6)
FORM(7)
