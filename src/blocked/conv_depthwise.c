/* Depthwise: every channel by a filter of its own, blocked in and out.
 *
 * A task takes some output rows of some channel blocks: it copies a block's input rows into its
 * scratch, with zeros around, and goes over its output rows (depthwise_row.h).
 */
#include "blocked/blocked.h"
#include "blocked/depthwise_row.h"
#include "blocked/epilogue.h"

#include <stddef.h>

enum {
    TASK_PRODUCTS = 100000, /* vectors multiplied in a task, at least: some 20 microseconds */
    MOST_TASKS = 48         /* of a batch */
};

typedef struct cut {
    int32_t blocks, task_blocks, block_tasks, task_rows, row_tasks;
    int32_t window_w;
} cut;

static double products_of_image(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    return (double)dn_blocks(problem->groups, DN_LANES) * g->out_h * g->out_w * g->size * g->size;
}

static cut cut_of(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    const int32_t images = problem->images > 1 ? problem->images : 1;
    const double most = (MOST_TASKS + images - 1) / images;
    double target = products_of_image(problem) / TASK_PRODUCTS;
    target = target < 1 ? 1 : target > most ? most : target;
    cut c = {.blocks = dn_blocks(problem->groups, DN_LANES)};
    c.task_blocks = (int32_t)(c.blocks / target) > 1 ? (int32_t)(c.blocks / target) : 1;
    c.block_tasks = (c.blocks + c.task_blocks - 1) / c.task_blocks;
    int32_t row_tasks = (int32_t)target / c.block_tasks;
    if (row_tasks < 1) row_tasks = 1;
    if (row_tasks > g->out_h) row_tasks = g->out_h;
    c.task_rows = (g->out_h + row_tasks - 1) / row_tasks;
    c.row_tasks = (g->out_h + c.task_rows - 1) / c.task_rows;
    c.window_w = (g->out_w - 1) * g->stride_x + (g->size - 1) * g->dilation + 1;
    return c;
}

static bool fits(const dn_conv_problem *problem)
{
    return problem->geometry.c == 1 && problem->filters == 1 && !problem->planar_in &&
           !problem->planar_out;
}

static double cost(const dn_conv_problem *problem, int32_t threads)
{
    const cut c = cut_of(problem);
    const int32_t tasks = problem->images * c.block_tasks * c.row_tasks;
    return products_of_image(problem) * problem->images / 3500 /
               (threads < tasks ? threads : tasks) +
           1.0;
}

static int64_t packed_bytes(const dn_conv_problem *problem)
{
    return 4LL * dn_blocks(problem->groups, DN_LANES) * problem->geometry.size *
           problem->geometry.size * DN_LANES;
}

static int32_t pack_tasks(const dn_conv_problem *problem)
{
    (void)problem;
    return 1;
}

/* (blocks, size, size, lanes) */
static void pack(const dn_conv_problem *problem, const float *weights, const float *factor,
                 void *packed, int32_t task)
{
    (void)task;
    const int32_t taps = problem->geometry.size * problem->geometry.size;
    float *to = packed;
    for (int32_t b = 0; b < dn_blocks(problem->groups, DN_LANES); ++b)
        for (int32_t tap = 0; tap < taps; ++tap)
            for (int32_t c = b * DN_LANES; c < (b + 1) * DN_LANES; ++c) {
                const bool live = c < problem->groups;
                *to++ = live ? weights[c * taps + tap] * (factor ? factor[c] : 1.0f) : 0.0f;
            }
}

static int64_t shared_bytes(const dn_conv_problem *problem)
{
    (void)problem;
    return 0;
}

static int32_t window_h(const dn_conv_geometry *g, int32_t rows)
{
    return (rows - 1) * g->stride_y + (g->size - 1) * g->dilation + 1;
}

/* The window, the sums of one row, and where the rows of taps read. */
static int64_t scratch_bytes(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    const cut c = cut_of(problem);
    return 4LL * DN_LANES * ((int64_t)window_h(g, c.task_rows) * c.window_w + g->out_w) +
           g->size * (int64_t)sizeof(float *);
}

static int32_t tasks(const dn_conv_call *call, int32_t phase, int32_t threads)
{
    (void)phase, (void)threads;
    const cut c = cut_of(&call->problem);
    return call->problem.images * c.block_tasks * c.row_tasks;
}

/* (rows, width, lanes): one block's input rows from `first` on, zeros beyond the image. */
static void fill_window(const dn_conv_geometry *g, const float *in, int32_t first, int32_t rows,
                        int32_t width, float *to)
{
    const dn_vec zero = dn_vec_set(0.0f);
    for (int32_t y = first; y < first + rows; ++y) {
        const bool inside = y >= 0 && y < g->h;
        const int32_t left = !inside || g->pad > width ? width : g->pad;
        const int32_t live = g->w < width - left ? g->w : width - left;
        const float *from = in + (inside ? (int64_t)y * g->w * DN_LANES : 0);
        for (int32_t x = 0; x < left; ++x, to += DN_LANES) dn_vec_store(to, zero);
        for (int32_t x = 0; x < live; ++x, to += DN_LANES)
            dn_vec_store(to, dn_vec_load(from + x * DN_LANES));
        for (int32_t x = left + live; x < width; ++x, to += DN_LANES) dn_vec_store(to, zero);
    }
}

/* Output rows [row, row + rows) of a block; `scratch` as of scratch_bytes. */
static void run_block(const dn_conv_call *call, const cut *c, int32_t image, int32_t block,
                      int32_t row, int32_t rows, float *scratch)
{
    const dn_conv_problem *problem = &call->problem;
    const dn_conv_geometry *g = &problem->geometry;
    const int32_t height = window_h(g, rows);
    const int64_t window_row = (int64_t)c->window_w * DN_LANES;
    float *sums = scratch + window_h(g, c->task_rows) * window_row, slope;
    const float **taps = (const float **)(sums + (int64_t)g->out_w * DN_LANES);
    fill_window(
        g, call->in.data + image * call->in.image_stride + (int64_t)block * g->h * g->w * DN_LANES,
        row * g->stride_y - g->pad, height, c->window_w, scratch);
    const bool in_tile = dn_activation_slope(problem->activation, &slope) && !problem->adds;
    const float *shift = call->shift + block * DN_LANES;
    dn_depthwise_row work = {
        .geometry = g,
        .rows = taps,
        .weights = (const float *)call->packed + (int64_t)block * g->size * g->size * DN_LANES,
        .shift = in_tile ? shift : NULL,
        .slope = in_tile ? slope : 1.0f,
    };
    for (int32_t y = row; y < row + rows; ++y) {
        const int64_t at = ((int64_t)block * g->out_h + y) * g->out_w * DN_LANES;
        float *out = call->out.data + image * call->out.image_stride + at;
        for (int32_t k = 0; k < g->size; ++k)
            taps[k] = scratch + ((y - row) * g->stride_y + k * g->dilation) * window_row;
        work.out = in_tile ? out : sums;
        DN_ISA_NAME(dn_depthwise_row)(&work);
        if (in_tile) continue;
        const float *add =
            problem->adds ? call->add.data + image * call->add.image_stride + at : NULL;
        dn_epilogue_row(problem, sums, g->out_w, shift, add, out);
    }
}

static void run(const dn_conv_call *call, int32_t phase, int32_t task, void *scratch)
{
    (void)phase;
    const dn_conv_geometry *g = &call->problem.geometry;
    const cut c = cut_of(&call->problem);
    const int32_t image = task / (c.block_tasks * c.row_tasks);
    const int32_t first = task / c.row_tasks % c.block_tasks * c.task_blocks;
    const int32_t row = task % c.row_tasks * c.task_rows;
    const int32_t rows = row + c.task_rows < g->out_h ? c.task_rows : g->out_h - row;
    for (int32_t b = first; b < c.blocks && b < first + c.task_blocks; ++b)
        run_block(call, &c, image, b, row, rows, scratch);
}

extern const dn_conv_form DN_ISA_NAME(dn_conv_depthwise);
const dn_conv_form DN_ISA_NAME(dn_conv_depthwise) = {
    .name = "depthwise",
    .exact = true,
    .phases = 1,
    .fits = fits,
    .cost = cost,
    .packed_bytes = packed_bytes,
    .pack_tasks = pack_tasks,
    .pack = pack,
    .shared_bytes = shared_bytes,
    .scratch_bytes = scratch_bytes,
    .tasks = tasks,
    .run = run,
};
