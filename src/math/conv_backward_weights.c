/* Gradient of a convolution's weights as an implicit matrix product. See conv_backward.h.
 *
 * grad_weights (filters, taps) += grad_out (filters, pixels) * columns' (pixels, taps). A task is a
 * range of filters and input channels of one group. It walks over the images in blocks of whole
 * output rows, packs the block's part of grad_out and, straight from the image, the transposed
 * columns, and adds their product to its part of the weights' gradient.
 */
#include "math/conv_backward.h"

#include "math/conv_window.h"
#include "math/gemm_kernel.h"
#include "math/integers.h"
#include "math/threads.h"

enum {
    BLOCK_PIXELS = 256, /* of a block: whole output rows, near this */
    BLOCK_TAPS = 256,   /* of a task: whole channels, near this */
    BLOCK_ROWS = 224,   /* filters of a task, at most */
    SMALL_ROWS = 28,    /* a task is not cut smaller than this */
};

typedef struct weights_plan {
    const dn_gemm_kernel *kernel;
    int32_t taps;     /* of a channel */
    int32_t channels; /* of a task, at most */
    int32_t rows;     /* filters of a task, at most */
    int32_t channel_tasks, row_tasks;
    int32_t block_rows;   /* output rows of a block, at most */
    int32_t pitch, plane; /* of the window */
    int64_t a_floats, b_floats, thread_floats;
} weights_plan;

static weights_plan make_plan(const dn_conv_args *args)
{
    const dn_conv_geometry *g = &args->geometry;
    weights_plan plan = {.kernel = dn_gemm_kernel_in_use(), .taps = g->size * g->size};
    const int32_t limit = dn_most(1, BLOCK_TAPS / plan.taps);
    plan.channel_tasks = dn_divide_up(g->c, limit);
    plan.channels = dn_divide_up(g->c, plan.channel_tasks);
    plan.row_tasks = dn_divide_up(args->filters, BLOCK_ROWS);
    const int64_t outer = (int64_t)args->groups * plan.channel_tasks;
    while (outer * plan.row_tasks < 2 * (int64_t)args->threads && args->threads > 1 &&
           dn_divide_up(args->filters, 2 * plan.row_tasks) >= SMALL_ROWS) {
        plan.row_tasks *= 2;
    }
    plan.rows = dn_divide_up(args->filters, plan.row_tasks);
    plan.block_rows = dn_least(g->out_h, dn_most(1, BLOCK_PIXELS / g->out_w));
    plan.pitch = (int32_t)dn_window_extent(g, g->out_w, g->stride_x);
    plan.plane = (int32_t)dn_window_extent(g, plan.block_rows, g->stride_y) * plan.pitch;
    const int64_t pixels = (int64_t)plan.block_rows * g->out_w;
    const int32_t columns = plan.channels * plan.taps + plan.kernel->columns;
    plan.a_floats = dn_least(args->filters, BLOCK_ROWS) * pixels;
    plan.b_floats = columns * pixels;
    const int64_t window = (int64_t)plan.channels * plan.plane + DN_PACK_SLACK;
    plan.thread_floats = (plan.a_floats + plan.b_floats + window + 31) / 16 * 16;
    return plan;
}

/* The part of the product that a task computes. */
typedef struct weights_task {
    int32_t group, row, rows, channel, channels;
} weights_task;

static weights_task task_at(const dn_conv_args *args, const weights_plan *plan, int32_t index)
{
    const int32_t parts = plan->row_tasks * plan->channel_tasks;
    const int32_t row_part = index % parts / plan->channel_tasks;
    const int32_t channel_part = index % plan->channel_tasks;
    const int32_t row = dn_panel_begin(args->filters, plan->row_tasks, row_part);
    const int32_t channel = dn_panel_begin(args->geometry.c, plan->channel_tasks, channel_part);
    return (weights_task){
        .group = index / parts,
        .row = row,
        .rows = dn_panel_begin(args->filters, plan->row_tasks, row_part + 1) - row,
        .channel = channel,
        .channels =
            dn_panel_begin(args->geometry.c, plan->channel_tasks, channel_part + 1) - channel,
    };
}

/* 1x1, stride 1: the image's transpose, `pixels` of them at `in`. */
static void pack_pointwise(const dn_conv_geometry *g, const weights_plan *plan, int32_t channels,
                           const float *in, int32_t pixels, float *out)
{
    const dn_gemm_kernel *kernel = plan->kernel;
    const ptrdiff_t plane = (ptrdiff_t)g->h * g->w;
    for (int32_t j = 0; j < channels; j += kernel->columns) {
        const int32_t width = dn_least(kernel->columns, channels - j);
        const int32_t pitch = dn_divide_up(width, kernel->lanes) * kernel->lanes;
        kernel->pack_transpose(in + j * plane, plane, pixels, width, pitch,
                               out + (ptrdiff_t)j * pixels);
    }
}

/* Packs the transposed columns of `rows` output rows from out_y on: (pixels, channels * taps). */
static void pack_columns(const dn_conv_geometry *g, const weights_plan *plan, int32_t channels,
                         const float *in, /* (channels, h, w) */
                         int32_t out_y, int32_t rows, float *window, float *out)
{
    const int32_t seen = (int32_t)dn_window_extent(g, rows, g->stride_y);
    for (int32_t c = 0; c < channels; ++c) {
        dn_window_fill(g, in + (ptrdiff_t)c * g->h * g->w, out_y, seen, plan->pitch,
                       window + (ptrdiff_t)c * plan->plane);
    }
    int32_t offsets[DN_TILE_MAX_COLUMNS];
    dn_pack_window matrix = {
        .window = window,
        .counts = {1, rows, g->out_w},
        .strides = {0, (ptrdiff_t)g->stride_y * plan->pitch, g->stride_x},
        .offsets = offsets,
    };
    const int32_t columns = channels * plan->taps;
    for (int32_t j = 0; j < columns; j += plan->kernel->columns) {
        matrix.columns = dn_least(plan->kernel->columns, columns - j);
        for (int32_t i = 0; i < plan->kernel->columns; ++i) {
            const int32_t column = j + dn_least(i, matrix.columns - 1);
            const int32_t tap = column % plan->taps;
            const int32_t ky = tap / g->size, kx = tap % g->size;
            offsets[i] = column / plan->taps * plan->plane + (ky * plan->pitch + kx) * g->dilation;
        }
        plan->kernel->pack_window(&matrix, out + (ptrdiff_t)j * rows * g->out_w);
    }
}

static void pack_grad(const weights_plan *plan, const float *grad, /* (rows, out_h * out_w) */
                      ptrdiff_t ld, int32_t rows, int32_t pixels, float *out)
{
    const int32_t panels = dn_divide_up(rows, plan->kernel->rows);
    for (int32_t panel = 0; panel < panels; ++panel) {
        const int32_t begin = dn_panel_begin(rows, panels, panel);
        const int32_t height = dn_panel_begin(rows, panels, panel + 1) - begin;
        plan->kernel->pack_transpose(grad + begin * ld, ld, pixels, height, height,
                                     out + (ptrdiff_t)begin * pixels);
    }
}

/* One image's share. */
static void add_image(const dn_conv_args *args, const weights_plan *plan, const weights_task *task,
                      const float *in, const float *grad_out, float *grad_weights, float *workspace)
{
    const dn_conv_geometry *g = &args->geometry;
    float *a = workspace, *b = a + plan->a_floats, *window = b + plan->b_floats;
    const int32_t panels = dn_divide_up(task->rows, plan->kernel->rows);
    for (int32_t y = 0; y < g->out_h; y += plan->block_rows) {
        const int32_t rows = dn_least(plan->block_rows, g->out_h - y);
        const int32_t pixels = rows * g->out_w;
        pack_grad(plan, grad_out + (ptrdiff_t)y * g->out_w, (ptrdiff_t)g->out_h * g->out_w,
                  task->rows, pixels, a);
        if (dn_conv_is_pointwise(g)) {
            pack_pointwise(g, plan, task->channels, in + (ptrdiff_t)y * g->w, pixels, b);
        } else {
            pack_columns(g, plan, task->channels, in, y, rows, window, b);
        }
        const dn_gemm_tile block = {
            .columns = task->channels * plan->taps,
            .k = pixels,
            .a = a,
            .b = b,
            .alpha = 1.0f,
            .beta = 1.0f,
            .c = grad_weights,
            .ldc = (ptrdiff_t)g->c * plan->taps,
        };
        dn_gemm_run_block(plan->kernel, &block, task->rows, panels, 0, panels);
    }
}

int64_t dn_conv_backward_weights_workspace(const dn_conv_args *args)
{
    return make_plan(args).thread_floats * args->threads;
}

void dn_conv_backward_weights(const dn_conv_args *args, const float *grad_out, float *grad_weights)
{
    const dn_conv_geometry *g = &args->geometry;
    const weights_plan plan = make_plan(args);
    const int32_t tasks = args->groups * plan.row_tasks * plan.channel_tasks;
    const ptrdiff_t in_plane = (ptrdiff_t)g->h * g->w, out_plane = (ptrdiff_t)g->out_h * g->out_w;
#pragma omp parallel for num_threads(args->threads) schedule(dynamic)
    for (int32_t index = 0; index < tasks; ++index) {
        const weights_task task = task_at(args, &plan, index);
        const ptrdiff_t filter = (ptrdiff_t)task.group * args->filters + task.row;
        float *workspace = args->workspace + plan.thread_floats * dn_thread_number();
        for (int32_t image = 0; image < args->images; ++image) {
            const ptrdiff_t slice = (ptrdiff_t)image * args->groups;
            const ptrdiff_t channel = (slice + task.group) * g->c + task.channel;
            const ptrdiff_t row = slice * args->filters + filter;
            add_image(args, &plan, &task, args->in + channel * in_plane, grad_out + row * out_plane,
                      grad_weights + (filter * g->c + task.channel) * plan.taps, workspace);
        }
    }
}
