/* The direct form: every product is computed, tile by tile (conv_tile.h), cut as conv_cut.h says.
 *
 * Takes any size, stride, padding and dilation; groups where a group's channels and filters fill
 * whole blocks. Here is what it costs and how weights are packed; conv_direct_walk.c computes.
 */
#include "blocked/conv_direct.h"

#include "blocked/conv_cut.h"
#include "blocked/throughput.h"
#include "blocked/vector.h"

#include <stddef.h>

static bool fits(const dn_conv_problem *problem)
{
    const bool whole_blocks =
        problem->geometry.c % DN_LANES == 0 && problem->filters % DN_LANES == 0;
    return !problem->planar_in && !(problem->planar_out && problem->adds) &&
           (problem->groups == 1 || whole_blocks);
}

/* By the vectors multiplied. */
static double cost(const dn_conv_problem *problem, int32_t threads)
{
    const dn_conv_geometry *g = &problem->geometry;
    const dn_conv_cut cut = DN_ISA_NAME(dn_conv_cut_of)(problem);
    const int32_t channels = dn_blocks(g->c, DN_TILE_CHANNELS) * DN_TILE_CHANNELS;
    const double products = (double)g->size * g->size * channels * cut.vectors * problem->groups *
                            g->out_h * g->out_w * problem->images;
    const int32_t tasks = problem->images * cut.row_tasks * cut.item_tasks;
    const double copied = cut.copies ? (double)cut.in_blocks * problem->groups * g->h * g->w *
                                           problem->images * cut.item_tasks
                                     : 0.0;
    const double cycles = products / (DN_PRODUCTS_A_CYCLE * 0.9) + 3 * copied;
    return cycles / 3500 / (threads < tasks ? threads : tasks) + 1.0;
}

static int64_t item_floats(const dn_conv_problem *problem, int32_t vectors)
{
    const dn_conv_geometry *g = &problem->geometry;
    return (int64_t)dn_blocks(g->c, DN_LANES) * g->size * g->size * DN_LANES * vectors * DN_LANES;
}

static int64_t packed_bytes(const dn_conv_problem *problem)
{
    return 4 * problem->groups * item_floats(problem, dn_blocks(problem->filters, DN_LANES));
}

static int32_t pack_tasks(const dn_conv_problem *problem)
{
    return problem->groups * ((dn_blocks(problem->filters, DN_LANES) + 1) / 2);
}

int64_t DN_ISA_NAME(dn_conv_direct_item)(const dn_conv_problem *problem, int32_t item,
                                         int32_t *vectors)
{
    const int32_t all = dn_blocks(problem->filters, DN_LANES), pairs = (all + 1) / 2;
    const int32_t group = item / pairs, first = item % pairs * 2;
    *vectors = all - first < 2 ? 1 : 2;
    return item_floats(problem, 1) * (group * (int64_t)all + first);
}

/* (blocks, size, size, lanes, vectors, lanes); a filter's taps are read as they lie. */
static void pack(const dn_conv_problem *problem, const float *weights, const float *factor,
                 void *packed, int32_t task)
{
    const dn_conv_geometry *g = &problem->geometry;
    const int32_t taps = g->size * g->size, pairs = pack_tasks(problem) / problem->groups;
    const int32_t first = task % pairs * 2 * DN_LANES;
    int32_t vectors;
    float *to = (float *)packed + DN_ISA_NAME(dn_conv_direct_item)(problem, task, &vectors);
    const int64_t first_filter = (int64_t)(task / pairs) * problem->filters + first;
    const int32_t width = vectors * DN_LANES, live = problem->filters - first;
    for (int32_t block = 0; block < g->c; block += DN_LANES, to += taps * DN_LANES * width)
        for (int32_t f = 0; f < width; ++f) {
            const float *from = weights + ((first_filter + f) * g->c + block) * taps;
            const float scale = factor && f < live ? factor[first_filter + f] : 1.0f;
            for (int32_t i = 0; i < DN_LANES * taps; ++i) {
                const int32_t c = i / taps, tap = i % taps;
                const bool counts = f < live && block + c < g->c;
                to[(tap * DN_LANES + c) * width + f] = counts ? from[i] * scale : 0.0f;
            }
        }
}

static int64_t shared_bytes(const dn_conv_problem *problem)
{
    (void)problem;
    return 0;
}

static int32_t tasks(const dn_conv_call *call, int32_t phase, int32_t threads)
{
    (void)phase, (void)threads;
    const dn_conv_cut cut = DN_ISA_NAME(dn_conv_cut_of)(&call->problem);
    return call->problem.images * cut.row_tasks * cut.item_tasks;
}

static void run(const dn_conv_call *call, int32_t phase, int32_t task, void *scratch)
{
    (void)phase;
    const dn_conv_products products = {.kernel = DN_ISA_NAME(dn_conv_tile_f32)};
    DN_ISA_NAME(dn_conv_direct_task)(call, &products, task, scratch);
}

const dn_conv_form DN_ISA_NAME(dn_conv_direct) = {
    .name = "direct",
    .exact = true,
    .phases = 1,
    .fits = fits,
    .cost = cost,
    .packed_bytes = packed_bytes,
    .pack_tasks = pack_tasks,
    .pack = pack,
    .shared_bytes = shared_bytes,
    .scratch_bytes = DN_ISA_NAME(dn_conv_direct_scratch),
    .tasks = tasks,
    .run = run,
};
