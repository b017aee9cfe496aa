/* Depthwise convolution: copies a strip of a channel, with its padding, to a window that stays in
 * the cache, and lets the instruction set's loop sum the taps. See conv_depthwise.h.
 */
#include "math/conv_depthwise.h"

#include "math/conv_window.h"
#include "math/threads.h"

enum { STRIP_FLOATS = 8192 }; /* of window: the L1 cache's size */

/* How a channel is cut into strips of rows. */
typedef struct strip_plan {
    int32_t rows, strips; /* output rows of a strip, at most; strips of a channel */
    int32_t window_rows, pitch;
    int64_t floats; /* of one thread's window */
} strip_plan;

static strip_plan make_plan(const dn_conv_geometry *g)
{
    strip_plan plan = {.pitch = (int32_t)dn_window_extent(g, g->out_w, g->stride_x)};
    const int32_t fit = STRIP_FLOATS / plan.pitch - (g->size - 1) * g->dilation;
    const int32_t rows = fit / g->stride_y;
    plan.rows = rows < 1 ? 1 : rows > g->out_h ? g->out_h : rows;
    plan.strips = (g->out_h + plan.rows - 1) / plan.rows;
    plan.window_rows = (int32_t)dn_window_extent(g, plan.rows, g->stride_y);
    plan.floats = ((int64_t)plan.window_rows * plan.pitch + DN_PACK_SLACK + 15) / 16 * 16;
    return plan;
}

#if defined(__x86_64__)
static void run_strip(const dn_depthwise_strip *strip)
{
    const dn_isa isa = dn_cpu_isa();
    if (isa >= DN_ISA_AVX512)
        dn_depthwise_avx512(strip);
    else if (isa == DN_ISA_AVX2)
        dn_depthwise_avx2(strip);
    else
        dn_depthwise_plain(strip);
}
#else
static void run_strip(const dn_depthwise_strip *strip)
{
    dn_depthwise_plain(strip);
}
#endif

int64_t dn_conv_depthwise_workspace(const dn_conv_args *args)
{
    return make_plan(&args->geometry).floats * args->threads;
}

/* Strip `index` of channel `channel`, counted over all images. */
static void run_task(const dn_conv_args *args, const strip_plan *plan, int64_t channel,
                     int32_t index, float *window)
{
    const dn_conv_geometry *g = &args->geometry;
    const int64_t group = channel % args->groups;
    const int32_t y = index * plan->rows;
    const int32_t rows = plan->rows < g->out_h - y ? plan->rows : g->out_h - y;
    const float *weights = args->packed ? args->packed : args->weights;
    const int32_t seen = (int32_t)dn_window_extent(g, rows, g->stride_y);
    dn_window_fill(g, args->in + channel * g->h * g->w, y, seen, plan->pitch, window);
    const dn_depthwise_strip strip = {
        .window = window,
        .pitch = plan->pitch,
        .rows = rows,
        .columns = g->out_w,
        .size = g->size,
        .stride_x = g->stride_x,
        .stride_y = g->stride_y,
        .dilation = g->dilation,
        .weights = weights + group * g->size * g->size,
        .scale = args->scale ? args->scale[group] : 1.0f,
        .shift = args->shift ? args->shift[group] : 0.0f,
        .activation = dn_tile_activation_of(args->activation),
        .slope = 0.1f,
        .accumulate = args->accumulate,
        .out = args->out + (channel * g->out_h + y) * g->out_w,
    };
    run_strip(&strip);
    if (dn_tile_activation_follows(args->activation)) {
        dn_activate_array(args->activation, strip.out, strip.out, (int64_t)rows * g->out_w);
    }
}

void dn_conv_depthwise(const dn_conv_args *args)
{
    const strip_plan plan = make_plan(&args->geometry);
    const int64_t tasks = (int64_t)args->images * args->groups * plan.strips;
#pragma omp parallel for num_threads(args->threads) schedule(dynamic, 4)
    for (int64_t task = 0; task < tasks; ++task) {
        run_task(args, &plan, task / plan.strips, (int32_t)(task % plan.strips),
                 args->workspace + plan.floats * dn_thread_number());
    }
}
