/* Convolution forward as an implicit matrix product. See conv.h.
 *
 * A task is a range of output pixels and filters of one image and group. It walks over the input
 * channels in blocks that fill the L2 cache: copies the rows that its pixels see, with the padding
 * as zeros, to a small window (`stage`); packs the window's taps into panels; and adds the panels'
 * products with the packed weights to its outputs.
 */
#include "math/conv.h"

#include "math/conv_depthwise.h"
#include "math/conv_window.h"
#include "math/gemm_kernel.h"
#include "math/integers.h"
#include "math/threads.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK_K = 320,         /* rows of the column matrix in a block: whole channels, at most */
    BLOCK_FLOATS = 122880, /* of packed columns: 480 KiB */
    CACHE_FLOATS = 184320, /* of packed columns and outputs: 720 KiB of the L2 cache */
};

/* What a call derives from its arguments. */
typedef struct conv_plan {
    const dn_gemm_kernel *kernel;
    bool direct;            /* the image is the column matrix */
    int32_t taps;           /* size * size */
    int32_t columns;        /* out_h * out_w */
    int32_t block_channels; /* input channels of a block */
    int32_t row_panels;     /* panels of filters of one group */
    int32_t column_panels;  /* panels of pixels of one image */
    int32_t task_panels;    /* at most, of pixels in a task */
    int32_t row_tasks, column_tasks;
    int64_t thread_floats;
} conv_plan;

static int64_t stage_floats(const dn_conv_geometry *g, const conv_plan *plan)
{
    const int64_t columns = (int64_t)plan->task_panels * plan->kernel->columns;
    const int64_t touched = (columns + g->out_w - 2) / g->out_w + 1;
    const int32_t rows = touched < g->out_h ? (int32_t)touched : g->out_h;
    const int64_t window =
        dn_window_extent(g, rows, g->stride_y) * dn_window_extent(g, g->out_w, g->stride_x);
    return plan->block_channels * window + DN_PACK_SLACK;
}

/* Panels of pixels of a task of `height` rows: its packed columns, and its outputs where they are
 * read again for a second block, stay in the L2 cache. */
static int32_t most_panels(const dn_conv_args *args, const conv_plan *plan, int32_t height)
{
    const int32_t again = plan->block_channels < args->geometry.c ? height : 0;
    const int32_t column = plan->block_channels * plan->taps + again;
    const int32_t fit = CACHE_FLOATS / (column * plan->kernel->columns);
    return dn_most(1, dn_least(fit, plan->task_panels));
}

/* Vector steps of the busiest thread when each image is cut into `columns` tasks of pixels, each of
 * `height` rows: its turns of average size, one of them as large as they come, and what is lost
 * when threads do not begin or end together. */
static double busiest(const dn_conv_args *args, const conv_plan *plan, int64_t turns,
                      int32_t columns, int32_t height)
{
    const double late = args->threads == 1 ? 0.0 : 3e5; /* some 100 microseconds */
    const int32_t lanes = plan->kernel->lanes;
    const int32_t vectors = dn_divide_up(plan->columns, lanes);
    const int32_t panels = dn_divide_up(plan->column_panels, columns);
    const int32_t largest = dn_least(vectors, panels * (plan->kernel->columns / lanes));
    const double step = (double)height * args->geometry.c * plan->taps;
    return step * ((double)(turns - 1) * vectors / columns + largest) +
           fmin(late, step * largest / 2);
}

/* Chooses the cut with the shortest estimated time; packing a column counts as some rows. */
static void cut(const dn_conv_args *args, conv_plan *plan)
{
    enum { PACKING_ROWS = 8, MOST_ROW_TASKS = 8, SPARE_TASKS = 16 };
    const int64_t outer = (int64_t)args->images * args->groups;
    const int32_t row_limit = args->threads == 1 ? 1 : dn_least(MOST_ROW_TASKS, plan->row_panels);
    double best = INFINITY;
    for (int32_t rows = 1; rows <= row_limit; ++rows) {
        const int32_t height = dn_divide_up(args->filters, rows);
        const int32_t fewest = dn_divide_up(plan->column_panels, most_panels(args, plan, height));
        const int32_t limit = dn_least(plan->column_panels, fewest + SPARE_TASKS * args->threads);
        for (int32_t columns = fewest; columns <= limit; ++columns) {
            const int64_t turns = (outer * rows * columns + args->threads - 1) / args->threads;
            const double cost = busiest(args, plan, turns, columns, height + PACKING_ROWS);
            if (cost < best) {
                best = cost;
                plan->row_tasks = rows;
                plan->column_tasks = columns;
            }
        }
    }
}

static conv_plan make_plan(const dn_conv_args *args)
{
    const dn_conv_geometry *g = &args->geometry;
    conv_plan plan = {.kernel = dn_gemm_kernel_in_use()};
    plan.direct = dn_conv_is_pointwise(g);
    plan.taps = g->size * g->size;
    plan.columns = g->out_h * g->out_w;
    const int32_t limit = dn_most(1, BLOCK_K / plan.taps);
    plan.block_channels = dn_divide_up(g->c, dn_divide_up(g->c, limit));
    plan.row_panels = dn_divide_up(args->filters, plan.kernel->rows);
    plan.column_panels = dn_divide_up(plan.columns, plan.kernel->columns);
    const int32_t panel_floats = plan.block_channels * plan.taps * plan.kernel->columns;
    plan.task_panels = dn_least(plan.column_panels, dn_most(1, BLOCK_FLOATS / panel_floats));
    const int64_t stage = plan.direct ? 0 : stage_floats(g, &plan);
    const int64_t packed = (int64_t)plan.task_panels * panel_floats;
    plan.thread_floats = (packed + stage + 31) / 16 * 16;
    return plan;
}

/* Packs `columns` pixels from pixel `first` on, of the block's `channels` planes at `in`. */
static void pack_staged(const dn_conv_geometry *g, const conv_plan *plan, const float *in,
                        int32_t channels, int32_t first, int32_t columns, float *stage, float *out)
{
    const int32_t y0 = first / g->out_w, y1 = (first + columns - 1) / g->out_w;
    const int32_t rows = (int32_t)dn_window_extent(g, y1 - y0 + 1, g->stride_y);
    const int32_t pitch = (int32_t)dn_window_extent(g, g->out_w, g->stride_x);
    const ptrdiff_t plane = (ptrdiff_t)rows * pitch;
    for (int32_t c = 0; c < channels; ++c) {
        const float *from = in + (ptrdiff_t)c * g->h * g->w;
        dn_window_fill(g, from, y0, rows, pitch, stage + c * plane);
    }
    int32_t offsets[DN_TILE_MAX_COLUMNS];
    dn_pack_window window = {
        .window = stage,
        .counts = {channels, g->size, g->size},
        .strides = {plane, (ptrdiff_t)g->dilation * pitch, g->dilation},
        .offsets = offsets,
    };
    for (int32_t j = 0; j < columns; j += plan->kernel->columns) {
        window.columns = dn_least(plan->kernel->columns, columns - j);
        for (int32_t i = 0; i < plan->kernel->columns; ++i) {
            const int32_t pixel = first + j + dn_least(i, window.columns - 1);
            const int32_t y = pixel / g->out_w - y0, x = pixel % g->out_w;
            offsets[i] = y * g->stride_y * pitch + x * g->stride_x;
        }
        plan->kernel->pack_window(&window, out + (ptrdiff_t)j * channels * plan->taps);
    }
}

static void pack_direct(const dn_conv_geometry *g, const conv_plan *plan, const float *in,
                        int32_t channels, int32_t first, int32_t columns, float *out)
{
    const ptrdiff_t plane = (ptrdiff_t)g->h * g->w;
    const int32_t lanes = plan->kernel->lanes;
    for (int32_t j = 0; j < columns; j += plan->kernel->columns) {
        const int32_t width = dn_least(plan->kernel->columns, columns - j);
        plan->kernel->pack_copy(in + first + j, plane, channels, width,
                                dn_divide_up(width, lanes) * lanes, out + (ptrdiff_t)j * channels);
    }
}

/* One image and group with its part of the weights, the scales and the shifts. */
typedef struct conv_slice {
    const float *in;     /* (c, h, w) */
    const float *packed; /* (c * taps / block, panels, block, rows of the panel) */
    float *out;          /* (filters, out_h * out_w) */
    const float *scale, *shift;
} conv_slice;

static void activate_rest(const dn_conv_args *args, const conv_plan *plan, float *out, int32_t rows,
                          int32_t columns)
{
    if (!dn_tile_activation_follows(args->activation)) return;
    for (int32_t i = 0; i < rows; ++i) {
        float *row = out + (ptrdiff_t)i * plan->columns;
        dn_activate_array(args->activation, row, row, columns);
    }
}

/* Panels first_row..last_row-1 of filters for `columns` pixels from pixel `first` on. */
static void run_task(const dn_conv_args *args, const conv_plan *plan, const conv_slice *slice,
                     int32_t row_task, int32_t column_task, float *workspace)
{
    const dn_conv_geometry *g = &args->geometry;
    const int32_t first_row = dn_panel_begin(plan->row_panels, plan->row_tasks, row_task);
    const int32_t last_row = dn_panel_begin(plan->row_panels, plan->row_tasks, row_task + 1);
    const int32_t width = plan->kernel->columns;
    const int32_t first = dn_panel_begin(plan->column_panels, plan->column_tasks, column_task);
    const int32_t last = dn_panel_begin(plan->column_panels, plan->column_tasks, column_task + 1);
    const int32_t columns = dn_least(plan->columns, last * width) - first * width;
    float *panels = workspace;
    float *stage =
        workspace + (ptrdiff_t)plan->task_panels * width * plan->block_channels * plan->taps;
    for (int32_t c = 0; c < g->c; c += plan->block_channels) {
        const int32_t channels = dn_least(plan->block_channels, g->c - c);
        const float *in = slice->in + (ptrdiff_t)c * g->h * g->w;
        if (plan->direct) {
            pack_direct(g, plan, in, channels, first * width, columns, panels);
        } else {
            pack_staged(g, plan, in, channels, first * width, columns, stage, panels);
        }
        const dn_gemm_tile block = {
            .columns = columns,
            .k = channels * plan->taps,
            .a = slice->packed + (ptrdiff_t)args->filters * c * plan->taps,
            .b = panels,
            .alpha = 1.0f,
            .beta = c == 0 && !args->accumulate ? 0.0f : 1.0f,
            .c = slice->out + (ptrdiff_t)first * width,
            .ldc = plan->columns,
            .finish = c + channels == g->c,
            .scale = slice->scale,
            .shift = slice->shift,
            .activation = dn_tile_activation_of(args->activation),
            .slope = 0.1f,
        };
        dn_gemm_run_block(plan->kernel, &block, args->filters, plan->row_panels, first_row,
                          last_row);
    }
    const int32_t begin = dn_panel_begin(args->filters, plan->row_panels, first_row);
    const int32_t end = dn_panel_begin(args->filters, plan->row_panels, last_row);
    float *out = slice->out + (ptrdiff_t)begin * plan->columns + (ptrdiff_t)first * width;
    activate_rest(args, plan, out, end - begin, columns);
}

static conv_slice slice_of(const dn_conv_args *args, const conv_plan *plan, const float *packed,
                           int64_t index)
{
    const dn_conv_geometry *g = &args->geometry;
    const int64_t group = index % args->groups, row = group * args->filters;
    return (conv_slice){
        .in = args->in + index * g->c * g->h * g->w,
        .packed = packed + row * g->c * plan->taps,
        .out = args->out + index * args->filters * plan->columns,
        .scale = args->scale ? args->scale + row : NULL,
        .shift = args->shift ? args->shift + row : NULL,
    };
}

int64_t dn_conv_packed_floats(const dn_conv_args *args)
{
    const dn_conv_geometry *g = &args->geometry;
    return (int64_t)args->groups * args->filters * g->c * g->size * g->size;
}

int64_t dn_conv_workspace(const dn_conv_args *args, bool packed)
{
    if (dn_conv_is_depthwise(args)) return dn_conv_depthwise_workspace(args);
    const int64_t weights = packed ? 0 : (dn_conv_packed_floats(args) + 15) / 16 * 16;
    return weights + make_plan(args).thread_floats * args->threads;
}

void dn_conv_pack_weights(const dn_conv_args *args, float *packed)
{
    const int64_t floats = dn_conv_packed_floats(args);
    if (dn_conv_is_depthwise(args)) {
        memcpy(packed, args->weights, (size_t)floats * sizeof(float));
        return;
    }
    const conv_plan plan = make_plan(args);
    const int32_t depth = args->geometry.c * plan.taps, step = plan.block_channels * plan.taps;
    const int32_t panels = args->groups * plan.row_panels;
#pragma omp parallel for num_threads(args->threads) schedule(static)
    for (int32_t index = 0; index < panels; ++index) {
        const int32_t panel = index % plan.row_panels;
        const ptrdiff_t group = (ptrdiff_t)(index / plan.row_panels) * args->filters * depth;
        const int32_t begin = dn_panel_begin(args->filters, plan.row_panels, panel);
        const int32_t end = dn_panel_begin(args->filters, plan.row_panels, panel + 1);
        for (int32_t k = 0; k < depth; k += step) {
            const int32_t steps = dn_least(step, depth - k);
            const float *from = args->weights + group + (ptrdiff_t)begin * depth + k;
            float *to = packed + group + (ptrdiff_t)args->filters * k + (ptrdiff_t)begin * steps;
            plan.kernel->pack_transpose(from, depth, steps, end - begin, end - begin, to);
        }
    }
}

void dn_conv_forward(const dn_conv_args *args)
{
    if (dn_conv_is_depthwise(args)) {
        dn_conv_depthwise(args);
        return;
    }
    conv_plan plan = make_plan(args);
    cut(args, &plan);
    const float *packed = args->packed;
    float *workspace = args->workspace;
    if (packed == NULL) {
        dn_conv_pack_weights(args, workspace);
        packed = workspace;
        workspace += (dn_conv_packed_floats(args) + 15) / 16 * 16;
    }
    const int32_t parts = plan.row_tasks * plan.column_tasks;
    const int64_t tasks = (int64_t)args->images * args->groups * parts;
#pragma omp parallel for num_threads(args->threads) schedule(dynamic)
    for (int64_t task = 0; task < tasks; ++task) {
        const conv_slice slice = slice_of(args, &plan, packed, task / parts);
        const int32_t part = (int32_t)(task % parts);
        run_task(args, &plan, &slice, part / plan.column_tasks, part % plan.column_tasks,
                 workspace + plan.thread_floats * dn_thread_number());
    }
}
