/* The form of 1x1 convolutions: see pointwise.h. A task is a run of pixels, read and written where
 * they lie, times all output vectors or, where pixels are few, some pairs of them. */
#include "blocked/pointwise.h"

#include "blocked/throughput.h"

#include <stddef.h>

enum {
    RUN = 48,              /* pixels that each pair of output vectors goes over at a time */
    TASK_PRODUCTS = 50000, /* vectors multiplied in a task, at least: some 8 microseconds */
    MOST_TASKS = 48,       /* of a batch */
    STEP = 4               /* input channels are padded to these, as the tiles take them */
};

static int32_t padded(int32_t channels)
{
    return (channels + STEP - 1) / STEP * STEP;
}

bool DN_ISA_NAME(dn_pointwise_fits)(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    return g->size == 1 && g->stride_x == 1 && g->stride_y == 1 && g->pad == 0 &&
           g->out_h == g->h && g->out_w == g->w && problem->groups == 1 && !problem->planar_in &&
           !(problem->planar_out && problem->adds);
}

static int32_t plane_of(const dn_conv_problem *problem)
{
    return problem->geometry.out_h * problem->geometry.out_w;
}

static double products_of_pixel(const dn_conv_problem *problem)
{
    return (double)padded(problem->geometry.c) * dn_blocks(problem->filters, DN_LANES);
}

typedef struct cut {
    int32_t pixels, pixel_tasks; /* of a task; of an image */
    int32_t pairs, pair_tasks;
} cut;

static int32_t divided_up(int32_t a, int32_t b)
{
    return (a + b - 1) / b;
}

static cut cut_of(const dn_conv_problem *problem)
{
    const int32_t plane = plane_of(problem), images = problem->images > 1 ? problem->images : 1;
    const int32_t pairs = divided_up(dn_blocks(problem->filters, DN_LANES), 2);
    const int32_t runs = divided_up(plane, RUN), most = divided_up(MOST_TASKS, images);
    const double pays = products_of_pixel(problem) * plane / TASK_PRODUCTS;
    const int32_t wanted = pays < 1 ? 1 : pays > most ? most : (int32_t)pays;
    cut c = {.pixels = RUN * divided_up(runs, wanted < runs ? wanted : runs)};
    c.pixel_tasks = divided_up(plane, c.pixels);
    const int32_t shares = divided_up(wanted, c.pixel_tasks);
    c.pairs = divided_up(pairs, shares < pairs ? shares : pairs);
    c.pair_tasks = divided_up(pairs, c.pairs);
    return c;
}

static double cost(const dn_conv_problem *problem, int32_t threads)
{
    const cut c = cut_of(problem);
    const int32_t tasks = problem->images * c.pixel_tasks * c.pair_tasks;
    const double products = products_of_pixel(problem) * plane_of(problem) * problem->images;
    return products / (DN_PRODUCTS_A_CYCLE * 0.9) / 3500 / (threads < tasks ? threads : tasks) +
           0.5;
}

static int64_t packed_bytes(const dn_conv_problem *problem)
{
    return 4 * (int64_t)products_of_pixel(problem) * DN_LANES;
}

static int32_t pack_tasks(const dn_conv_problem *problem)
{
    return (dn_blocks(problem->filters, DN_LANES) + 1) / 2;
}

/* A pair: (channels, vectors, lanes); the last may have one vector. */
static void pack(const dn_conv_problem *problem, const float *weights, const float *factor,
                 void *packed, int32_t task)
{
    const int32_t c = problem->geometry.c, first = task * 2 * DN_LANES;
    const int32_t filters = dn_blocks(problem->filters, DN_LANES) * DN_LANES;
    const int32_t end = first + 2 * DN_LANES < filters ? first + 2 * DN_LANES : filters;
    float *to = (float *)packed + (int64_t)first * padded(c);
    for (int32_t i = 0; i < padded(c); ++i)
        for (int32_t f = first; f < end; ++f) {
            const bool counts = i < c && f < problem->filters;
            *to++ = counts ? weights[(int64_t)f * c + i] * (factor ? factor[f] : 1.0f) : 0.0f;
        }
}

static int64_t shared_bytes(const dn_conv_problem *problem)
{
    (void)problem;
    return 0;
}

static int64_t scratch_bytes(const dn_conv_problem *problem)
{
    (void)problem;
    return 4 * DN_ISA_NAME(dn_pointwise_sums)(RUN);
}

static int32_t tasks(const dn_conv_call *call, int32_t phase, int32_t threads)
{
    (void)phase, (void)threads;
    const cut c = cut_of(&call->problem);
    return call->problem.images * c.pixel_tasks * c.pair_tasks;
}

static void run(const dn_conv_call *call, int32_t phase, int32_t task, void *scratch)
{
    (void)phase;
    const dn_conv_problem *problem = &call->problem;
    const cut c = cut_of(problem);
    const int32_t plane = plane_of(problem), pair = task % c.pair_tasks * c.pairs;
    const int32_t image = task / c.pair_tasks / c.pixel_tasks;
    const int32_t first = task / c.pair_tasks % c.pixel_tasks * c.pixels;
    const int32_t end = first + c.pixels < plane ? first + c.pixels : plane;
    const int32_t out_pixel = problem->planar_out ? 1 : DN_LANES;
    dn_pointwise_rows rows = {.in_block = (int64_t)plane * DN_LANES,
                              .out_block = (int64_t)plane * DN_LANES,
                              .add_block = (int64_t)plane * DN_LANES,
                              .rows = 1};
    for (int32_t at = first; at < end; at += RUN) {
        rows.in = call->in.data + image * call->in.image_stride + at * DN_LANES;
        rows.out = call->out.data + image * call->out.image_stride + (int64_t)at * out_pixel;
        if (problem->adds)
            rows.add = call->add.data + image * call->add.image_stride + at * DN_LANES;
        rows.width = end - at < RUN ? end - at : RUN;
        DN_ISA_NAME(dn_pointwise_run)(call, &rows, pair, pair + c.pairs, scratch);
    }
}

const dn_conv_form DN_ISA_NAME(dn_conv_pointwise) = {
    .name = "pointwise",
    .exact = true,
    .phases = 1,
    .fits = DN_ISA_NAME(dn_pointwise_fits),
    .cost = cost,
    .packed_bytes = packed_bytes,
    .pack_tasks = pack_tasks,
    .pack = pack,
    .shared_bytes = shared_bytes,
    .scratch_bytes = scratch_bytes,
    .tasks = tasks,
    .run = run,
};
