/* Gradient of a convolution's weights as an implicit matrix product. See conv_backward.h.
 *
 * Its transpose is computed: grad_weights' (channels and taps, filters) += columns (taps, pixels) *
 * grad_out' (pixels, filters). A row of the columns is read where it lies, in a copy of the image
 * with its padding as zeros, so that only grad_out is packed. A task is a range of input channels
 * and filters of one group; where there are few, an image's pixels are cut into parts, too. It
 * walks over blocks of whole output rows, sums up in the cache, and adds an image's sums to the
 * gradient at its end. So neither the number of threads nor how a batch is subdivided changes a
 * bit.
 */
#include "math/conv_backward.h"

#include "math/conv_window.h"
#include "math/gemm_kernel.h"
#include "math/integers.h"
#include "math/threads.h"

#include <stddef.h>

enum {
    BLOCK_PIXELS = 256, /* of a block: whole output rows, near this */
    TASK_ROWS = 576,    /* taps of a task's channels, near this */
    TASK_FILTERS = 64,  /* whole panels of all kernels */
    ENOUGH_TASKS = 16,  /* with fewer, pixels are cut, too */
};

typedef struct weights_plan {
    const dn_gemm_kernel *kernel;
    bool pointwise;
    int32_t taps;     /* of a channel */
    int32_t channels; /* of a task, at most */
    int32_t channel_tasks, filter_tasks, tasks;
    int32_t block_rows, image_blocks; /* output rows of a block, at most; blocks of an image */
    int32_t parts;                    /* of an image's blocks */
    int32_t pitch, plane;             /* of the window */
    int64_t packed_floats, sum_floats, thread_floats;
} weights_plan;

static int64_t whole_lines(int64_t floats)
{
    return (floats + 15) / 16 * 16;
}

static weights_plan make_plan(const dn_conv_args *args)
{
    const dn_conv_geometry *g = &args->geometry;
    weights_plan plan = {.kernel = dn_gemm_kernel_in_use(), .taps = g->size * g->size};
    plan.pointwise = dn_conv_is_pointwise(g);
    plan.channel_tasks = dn_divide_up(g->c, dn_most(1, TASK_ROWS / plan.taps));
    plan.channels = dn_divide_up(g->c, plan.channel_tasks);
    plan.filter_tasks = dn_divide_up(args->filters, TASK_FILTERS);
    plan.tasks = args->groups * plan.filter_tasks * plan.channel_tasks;
    plan.block_rows = dn_least(g->out_h, dn_most(1, BLOCK_PIXELS / g->out_w));
    plan.image_blocks = dn_divide_up(g->out_h, plan.block_rows);
    plan.parts = dn_least(plan.image_blocks, dn_divide_up(ENOUGH_TASKS, plan.tasks));
    plan.pitch = (int32_t)dn_window_extent(g, g->out_w, g->stride_x);
    plan.plane = (int32_t)dn_window_extent(g, plan.block_rows, g->stride_y) * plan.pitch;
    const int64_t filters = dn_least(args->filters, TASK_FILTERS) + (plan.kernel->lanes - 1);
    plan.packed_floats = whole_lines(filters * plan.block_rows * g->out_w);
    plan.sum_floats = whole_lines(filters * plan.channels * plan.taps);
    const int64_t window = plan.pointwise ? 0 : (int64_t)plan.channels * plan.plane;
    plan.thread_floats = plan.packed_floats + plan.sum_floats + whole_lines(window);
    return plan;
}

/* The part of the product that a task computes. */
typedef struct weights_task {
    int32_t group, filter, filters, channel, channels;
} weights_task;

static weights_task task_at(const dn_conv_args *args, const weights_plan *plan, int32_t index)
{
    const int32_t each = plan->filter_tasks * plan->channel_tasks;
    const int32_t filter_part = index % each / plan->channel_tasks;
    const int32_t channel_part = index % plan->channel_tasks;
    const int32_t filter = filter_part * TASK_FILTERS;
    const int32_t channel = dn_panel_begin(args->geometry.c, plan->channel_tasks, channel_part);
    const int32_t end = dn_panel_begin(args->geometry.c, plan->channel_tasks, channel_part + 1);
    return (weights_task){
        .group = index / each,
        .filter = filter,
        .filters = dn_least(TASK_FILTERS, args->filters - filter),
        .channel = channel,
        .channels = end - channel,
    };
}

/* Floats of a row of a panel that begins at filter j of a task. */
static int32_t panel_pitch(const weights_plan *plan, const weights_task *task, int32_t j)
{
    const int32_t width = dn_least(plan->kernel->columns, task->filters - j);
    return dn_divide_up(width, plan->kernel->lanes) * plan->kernel->lanes;
}

/* grad_out of some pixels, transposed: panels of (pixels, filters). */
static void pack_grad(const weights_plan *plan, const weights_task *task, const float *grad,
                      ptrdiff_t ld, int32_t pixels, float *out)
{
    for (int32_t j = 0; j < task->filters; j += plan->kernel->columns) {
        const int32_t width = dn_least(plan->kernel->columns, task->filters - j);
        plan->kernel->pack_transpose(grad + j * ld, ld, pixels, width, panel_pitch(plan, task, j),
                                     out + (ptrdiff_t)j * pixels);
    }
}

/* Where in the window a tap of a channel begins; and the tap after it. */
typedef struct tap_place {
    int32_t channel, ky, kx;
} tap_place;

static ptrdiff_t next_offset(const dn_conv_geometry *g, int32_t pitch, ptrdiff_t plane,
                             tap_place *at)
{
    const ptrdiff_t offset =
        at->channel * plane + ((ptrdiff_t)at->ky * pitch + at->kx) * g->dilation;
    if (++at->kx == g->size) {
        at->kx = 0;
        if (++at->ky == g->size) {
            at->ky = 0;
            ++at->channel;
        }
    }
    return offset;
}

/* All taps of a task's channels times one panel of filters. */
static void sum_panel(const dn_conv_args *args, const weights_plan *plan, const weights_task *task,
                      const dn_window_tile *panel_tile, ptrdiff_t plane, float *sums)
{
    ptrdiff_t offsets[DN_TILE_MAX_ROWS];
    const int32_t rows = task->channels * plan->taps;
    const int32_t panels = dn_divide_up(rows, plan->kernel->window_rows);
    dn_window_tile tile = *panel_tile;
    tap_place place = {0, 0, 0};
    tile.offsets = offsets;
    for (int32_t panel = 0; panel < panels; ++panel) {
        const int32_t begin = dn_panel_begin(rows, panels, panel);
        tile.rows = dn_panel_begin(rows, panels, panel + 1) - begin;
        for (int32_t i = 0; i < tile.rows; ++i) {
            offsets[i] = next_offset(&args->geometry, plan->pitch, plane, &place);
        }
        tile.c = sums + (ptrdiff_t)begin * tile.pitch;
        plan->kernel->window_tile(&tile);
    }
}

/* The share of `rows` output rows from row y on of an image. `add`: to what is in `sums`. */
static void sum_block(const dn_conv_args *args, const weights_plan *plan, const weights_task *task,
                      const float *in, const float *grad, int32_t y, bool add, float *workspace,
                      float *sums)
{
    const dn_conv_geometry *g = &args->geometry;
    const ptrdiff_t in_plane = (ptrdiff_t)g->h * g->w, out_plane = (ptrdiff_t)g->out_h * g->out_w;
    const int32_t rows = dn_least(plan->block_rows, g->out_h - y), pixels = rows * g->out_w;
    float *window = workspace + plan->packed_floats;
    pack_grad(plan, task, grad + (ptrdiff_t)y * g->out_w, out_plane, pixels, workspace);
    dn_window_tile tile = {
        .counts = {rows, g->out_w},
        .strides = {(ptrdiff_t)g->stride_y * plan->pitch, g->stride_x},
        .window = window,
        .add = add,
    };
    if (plan->pointwise) {
        tile.window = in + (ptrdiff_t)y * g->w;
        tile.counts[0] = 1;
        tile.counts[1] = pixels;
    } else {
        const int32_t seen = (int32_t)dn_window_extent(g, rows, g->stride_y);
        for (int32_t c = 0; c < task->channels; ++c) {
            dn_window_fill(g, in + c * in_plane, y, seen, plan->pitch,
                           window + (ptrdiff_t)c * plan->plane);
        }
    }
    for (int32_t j = 0; j < task->filters; j += plan->kernel->columns) {
        tile.pitch = panel_pitch(plan, task, j);
        tile.b = workspace + (ptrdiff_t)j * pixels;
        sum_panel(args, plan, task, &tile, plan->pointwise ? in_plane : plan->plane,
                  sums + (ptrdiff_t)j * task->channels * plan->taps);
    }
}

/* One part of an image's blocks. */
static void sum_part(const dn_conv_args *args, const weights_plan *plan, const weights_task *task,
                     const float *grad_out, int32_t image, int32_t part, float *workspace,
                     float *sums)
{
    const dn_conv_geometry *g = &args->geometry;
    const int64_t slice = (int64_t)image * args->groups + task->group;
    const float *in = args->in + (slice * g->c + task->channel) * g->h * g->w;
    const float *grad = grad_out + (slice * args->filters + task->filter) * g->out_h * g->out_w;
    const int32_t first = dn_panel_begin(plan->image_blocks, plan->parts, part);
    const int32_t last = dn_panel_begin(plan->image_blocks, plan->parts, part + 1);
    for (int32_t block = first; block < last; ++block) {
        sum_block(args, plan, task, in, grad, block * plan->block_rows, block > first, workspace,
                  sums);
    }
}

/* Adds a task's sums, turned back, to its part of the gradient. */
static void add_sums(const dn_conv_args *args, const weights_plan *plan, const weights_task *task,
                     const float *sums, float *grad_weights)
{
    enum { STRIP = 64 };
    float strip[STRIP * DN_TILE_MAX_COLUMNS];
    const int32_t rows = task->channels * plan->taps;
    const ptrdiff_t ld = (ptrdiff_t)args->geometry.c * plan->taps;
    const ptrdiff_t filter = (ptrdiff_t)task->group * args->filters + task->filter;
    float *to = grad_weights + filter * ld + (ptrdiff_t)task->channel * plan->taps;
    for (int32_t j = 0; j < task->filters; j += plan->kernel->columns) {
        const int32_t width = dn_least(plan->kernel->columns, task->filters - j);
        const int32_t pitch = panel_pitch(plan, task, j);
        for (int32_t row = 0; row < rows; row += STRIP) {
            const int32_t count = dn_least(STRIP, rows - row);
            plan->kernel->pack_transpose(sums + (ptrdiff_t)j * rows + (ptrdiff_t)row * pitch, pitch,
                                         width, count, count, strip);
            for (int32_t f = 0; f < width; ++f) {
                float *grad = to + (j + f) * ld + row;
                for (int32_t i = 0; i < count; ++i) grad[i] += strip[f * count + i];
            }
        }
    }
}

/* Parts of one task, added in their order to the first. */
static void join_parts(const weights_plan *plan, const weights_task *task, float *sums)
{
    const int32_t filters = dn_divide_up(task->filters, plan->kernel->lanes) * plan->kernel->lanes;
    const int64_t floats = (int64_t)filters * task->channels * plan->taps;
    for (int32_t part = 1; part < plan->parts; ++part) {
        const float *from = sums + part * plan->sum_floats;
        for (int64_t i = 0; i < floats; ++i) sums[i] += from[i];
    }
}

int64_t dn_conv_backward_weights_workspace(const dn_conv_args *args)
{
    const weights_plan plan = make_plan(args);
    const int64_t shared = plan.parts > 1 ? plan.tasks * plan.parts * plan.sum_floats : 0;
    return plan.thread_floats * args->threads + shared;
}

static void sum_in_parts(const dn_conv_args *args, const weights_plan *plan, const float *grad_out,
                         int32_t image, float *grad_weights)
{
    float *shared = args->workspace + plan->thread_floats * args->threads;
#pragma omp parallel for num_threads(args->threads) schedule(dynamic)
    for (int32_t index = 0; index < plan->tasks * plan->parts; ++index) {
        const weights_task task = task_at(args, plan, index / plan->parts);
        float *workspace = args->workspace + plan->thread_floats * dn_thread_number();
        sum_part(args, plan, &task, grad_out, image, index % plan->parts, workspace,
                 shared + index * plan->sum_floats);
    }
#pragma omp parallel for num_threads(args->threads)
    for (int32_t index = 0; index < plan->tasks; ++index) {
        const weights_task task = task_at(args, plan, index);
        float *sums = shared + (int64_t)index * plan->parts * plan->sum_floats;
        join_parts(plan, &task, sums);
        add_sums(args, plan, &task, sums, grad_weights);
    }
}

void dn_conv_backward_weights(const dn_conv_args *args, const float *grad_out, float *grad_weights)
{
    const weights_plan plan = make_plan(args);
    if (plan.parts > 1) {
        for (int32_t image = 0; image < args->images; ++image)
            sum_in_parts(args, &plan, grad_out, image, grad_weights);
        return;
    }
#pragma omp parallel for num_threads(args->threads) schedule(dynamic)
    for (int32_t index = 0; index < plan.tasks; ++index) {
        const weights_task task = task_at(args, &plan, index);
        float *workspace = args->workspace + plan.thread_floats * dn_thread_number();
        float *sums = workspace + plan.thread_floats - plan.sum_floats;
        for (int32_t image = 0; image < args->images; ++image) {
            sum_part(args, &plan, &task, grad_out, image, 0, workspace, sums);
            add_sums(args, &plan, &task, sums, grad_weights);
        }
    }
}
