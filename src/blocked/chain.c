/* Which chains there are, in how many tasks they run, and where their tensors lie: see chain.h. */
#include "blocked/chain_bands.h"

#include "blocked/pointwise.h"
#include "blocked/vector.h"
#include "math/integers.h"

#include <stddef.h>

enum {
    MOST_WEIGHTS = 1 << 16, /* of all links: half of a second cache of 512 KiB */
    MOST_SCRATCH = 3 << 17, /* bytes */
    RUN = 96,               /* pixels of the output that are made at a time, at least */
    TASKS_A_THREAD = 2,
    LEAST_ROWS = 6,        /* of a task, where a depthwise link makes bands overlap */
    TASK_PRODUCTS = 100000 /* vectors multiplied in a task, at least: some 20 microseconds */
};

int32_t DN_ISA_NAME(dn_chain_unit)(const dn_chain *chain)
{
    const dn_conv_geometry *g = &dn_chain_problem(chain, chain->length - 1)->geometry;
    return dn_least(g->out_h, (RUN + g->out_w - 1) / g->out_w);
}

/* A place in the scratch; where there is none, its size alone. */
static float *take(float **scratch, int64_t floats, int64_t *all)
{
    float *place = *scratch;
    *all += floats;
    if (place) *scratch += floats;
    return place;
}

int64_t DN_ISA_NAME(dn_chain_lay_out)(const dn_chain *chain, float *scratch, dn_chain_work *w)
{
    int32_t rows = DN_ISA_NAME(dn_chain_unit)(chain), zeros = 0;
    int64_t all = 0, sums = 0;
    for (int32_t i = chain->length - 1; i >= 0; --i) {
        const dn_conv_problem *problem = dn_chain_problem(chain, i);
        const dn_conv_geometry *g = &problem->geometry;
        const bool depthwise = dn_chain_is_depthwise(&chain->links[i]);
        const int32_t channels = g->c * problem->groups;
        dn_chain_band *b = &w->bands[i];
        *b = (dn_chain_band){.width = g->w, .pitch = g->w, .rows = rows};
        if (depthwise) {
            const int32_t window = (g->out_w - 1) * g->stride_x + dn_chain_reach(g);
            b->rows = (rows - 1) * g->stride_y + dn_chain_reach(g);
            b->left = g->pad;
            b->pitch = dn_most(window, g->pad + g->w);
            zeros = dn_most(zeros, b->pitch);
        } else if (sums < DN_ISA_NAME(dn_pointwise_sums)(rows * g->w)) {
            sums = DN_ISA_NAME(dn_pointwise_sums)(rows * g->w);
        }
        rows = b->rows;
        b->block = (int64_t)b->rows * b->pitch * DN_LANES;
        if (i > 0 || depthwise)
            b->data = take(&scratch, dn_blocks(channels, DN_LANES) * b->block, &all);
    }
    w->sums = take(&scratch, sums, &all);
    w->zeros = take(&scratch, (int64_t)zeros * DN_LANES, &all);
    return all;
}

static double products_of(const dn_chain *chain)
{
    double products = 0;
    for (int32_t i = 0; i < chain->length; ++i) {
        const dn_conv_problem *problem = dn_chain_problem(chain, i);
        const dn_conv_geometry *g = &problem->geometry;
        const double vectors = dn_blocks(problem->groups * problem->filters, DN_LANES);
        products += vectors * g->c * g->size * g->size * g->out_h * g->out_w;
    }
    return products;
}

int32_t DN_ISA_NAME(dn_chain_tasks)(dn_chain *chain, int32_t threads)
{
    const dn_conv_problem *last = dn_chain_problem(chain, chain->length - 1);
    const int32_t h = last->geometry.out_h, images = last->images;
    const int32_t wanted = threads > 1 ? TASKS_A_THREAD * threads : 1;
    const double pays = products_of(chain) / TASK_PRODUCTS;
    int32_t tasks = (wanted + images - 1) / images;
    if (tasks > pays) tasks = (int32_t)pays;
    tasks = dn_most(1, dn_least(tasks, h / LEAST_ROWS));
    chain->task_rows = (h + tasks - 1) / tasks;
    chain->row_tasks = (h + chain->task_rows - 1) / chain->task_rows;
    return images * chain->row_tasks;
}

int64_t DN_ISA_NAME(dn_chain_scratch)(const dn_chain *chain)
{
    dn_chain_work w;
    return 4 * DN_ISA_NAME(dn_chain_lay_out)(chain, NULL, &w);
}

const dn_conv_form *DN_ISA_NAME(dn_chain_form)(const dn_conv_problem *problem)
{
    const dn_conv_form *pointwise = &DN_ISA_NAME(dn_conv_pointwise);
    const dn_conv_form *depthwise = &DN_ISA_NAME(dn_conv_depthwise);
    const dn_conv_geometry *g = &problem->geometry;
    if (pointwise->fits(problem)) return pointwise;
    const bool filters = depthwise->fits(problem) && !problem->adds && g->size <= DN_CHAIN_TAPS;
    return filters && g->stride_y <= dn_chain_reach(g) ? depthwise : NULL;
}

bool DN_ISA_NAME(dn_chain_fits)(const dn_chain *chain)
{
    int32_t depthwise = 0;
    int64_t weights = 0;
    for (int32_t i = 0; i < chain->length; ++i) {
        const dn_conv_problem *problem = dn_chain_problem(chain, i);
        const bool last = i + 1 == chain->length;
        if (!chain->links[i].form || (!last && (problem->adds || problem->planar_out)))
            return false;
        depthwise += dn_chain_is_depthwise(&chain->links[i]);
        weights += (int64_t)problem->geometry.c * problem->filters * problem->groups;
    }
    return depthwise <= 1 && weights <= MOST_WEIGHTS &&
           DN_ISA_NAME(dn_chain_scratch)(chain) <= MOST_SCRATCH;
}
