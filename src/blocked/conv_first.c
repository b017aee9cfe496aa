/* The first layer: a planar input of a few channels, a blocked output.
 *
 * A task copies the input rows that it reads into its scratch, with zeros around, and goes over
 * its output rows with the direct form's register tiles; a step is one tap, or, of 3x3 filters with
 * stride 1 or 2, a row of them. All taps and channels are summed in one go: they are few, so the
 * weights stay in the first cache. One group.
 */
#include "blocked/conv_tile_steps.h"
#include "blocked/epilogue.h"
#include "blocked/throughput.h"

#include <stddef.h>
#include <string.h>

enum {
    TASK_PRODUCTS = 1000000, /* of a task, at least: some 20 microseconds */
    MOST_TASKS = 48,         /* of a batch */
    PIXELS_2 = 6,            /* of a tile of two vectors, at most, and of one: sums that do not */
    PIXELS_1 = 12,           /* wait for each other */
    ROW_TAPS = 3             /* of a step that takes a row of taps */
};

/* Distances that are constants become parts of the instructions' addresses. */
#define KERNELS(vectors, pixels)                                                                   \
    static void tile_##vectors##_##pixels##_row(const dn_conv_tile *tile)                          \
    {                                                                                              \
        dn_tile_run(DN_CONV_F32, tile, vectors, pixels, ROW_TAPS, 1);                              \
    }                                                                                              \
    static void tile_##vectors##_##pixels##_row_stride_2(const dn_conv_tile *tile)                 \
    {                                                                                              \
        dn_tile_run(DN_CONV_F32, tile, vectors, pixels, ROW_TAPS, 2);                              \
    }                                                                                              \
    static void tile_##vectors##_##pixels##_tap(const dn_conv_tile *tile)                          \
    {                                                                                              \
        dn_tile_run(DN_CONV_F32, tile, vectors, pixels, 1, tile->in_pixel);                        \
    }
#define NAMES(vectors, pixels)                                                                     \
    {tile_##vectors##_##pixels##_row, tile_##vectors##_##pixels##_row_stride_2,                    \
     tile_##vectors##_##pixels##_tap},

DN_TILES_TO_12(KERNELS, 1)
DN_TILES_TO_6(KERNELS, 2)
static const dn_conv_tile_run kernels_of_1[PIXELS_1][3] = {DN_TILES_TO_12(NAMES, 1)};
static const dn_conv_tile_run kernels_of_2[PIXELS_2][3] = {DN_TILES_TO_6(NAMES, 2)};

static bool takes_rows(const dn_conv_geometry *g)
{
    return g->size == ROW_TAPS && g->dilation == 1 && g->stride_x <= 2;
}

/* Output rows of a task. */
static int32_t rows_of_task(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    const int64_t products = (int64_t)g->out_h * g->out_w * g->size * g->size * g->c *
                             dn_blocks(problem->filters, DN_LANES) * DN_LANES;
    const int32_t images = problem->images > 1 ? problem->images : 1;
    int64_t tasks = products / TASK_PRODUCTS, most = (MOST_TASKS + images - 1) / images;
    if (tasks > most) tasks = most;
    if (tasks < 1) tasks = 1;
    if (tasks > g->out_h) tasks = g->out_h;
    return (int32_t)((g->out_h + tasks - 1) / tasks);
}

static int32_t row_tasks(const dn_conv_problem *problem)
{
    const int32_t rows = rows_of_task(problem);
    return (problem->geometry.out_h + rows - 1) / rows;
}

static bool fits(const dn_conv_problem *problem)
{
    return problem->planar_in && !problem->planar_out && !problem->adds && problem->groups == 1;
}

static double cost(const dn_conv_problem *problem, int32_t threads)
{
    const dn_conv_geometry *g = &problem->geometry;
    const double products = (double)g->size * g->size * g->c * g->out_h * g->out_w *
                            dn_blocks(problem->filters, DN_LANES) * problem->images;
    const int32_t tasks = problem->images * row_tasks(problem);
    return products / (DN_PRODUCTS_A_CYCLE * 0.7) / 3500 / (threads < tasks ? threads : tasks) +
           1.0;
}

static int64_t vector_floats(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    return (int64_t)g->c * g->size * g->size * DN_LANES;
}

static int64_t packed_bytes(const dn_conv_problem *problem)
{
    return 4 * vector_floats(problem) * dn_blocks(problem->filters, DN_LANES);
}

static int32_t pack_tasks(const dn_conv_problem *problem)
{
    return (dn_blocks(problem->filters, DN_LANES) + 1) / 2;
}

/* Vectors of a pair: the last may be alone. */
static int32_t vectors_of(const dn_conv_problem *problem, int32_t pair)
{
    return dn_blocks(problem->filters, DN_LANES) - 2 * pair < 2 ? 1 : 2;
}

/* A pair: (c, size, size, vectors, lanes) */
static void pack(const dn_conv_problem *problem, const float *weights, const float *factor,
                 void *packed, int32_t task)
{
    const int64_t taps = vector_floats(problem) / DN_LANES;
    const int32_t first = task * 2 * DN_LANES;
    const int32_t end = first + vectors_of(problem, task) * DN_LANES;
    float *to = (float *)packed + 2 * task * vector_floats(problem);
    for (int64_t tap = 0; tap < taps; ++tap)
        for (int32_t f = first; f < end; ++f) {
            const bool live = f < problem->filters;
            *to++ = live ? weights[f * taps + tap] * (factor ? factor[f] : 1.0f) : 0.0f;
        }
}

static int64_t shared_bytes(const dn_conv_problem *problem)
{
    (void)problem;
    return 0;
}

static int32_t window_w(const dn_conv_geometry *g)
{
    return (g->out_w - 1) * g->stride_x + (g->size - 1) * g->dilation + 1;
}

static int32_t window_h(const dn_conv_geometry *g, int32_t rows)
{
    return (rows - 1) * g->stride_y + (g->size - 1) * g->dilation + 1;
}

/* The window, rounded up to whole vectors; then the sums of one row. */
static int64_t window_floats(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    const int64_t floats = (int64_t)g->c * window_h(g, rows_of_task(problem)) * window_w(g);
    return (floats + 15) / 16 * 16;
}

static int64_t row_floats(const dn_conv_problem *problem)
{
    return (int64_t)problem->geometry.out_w * DN_TILE_VECTORS * DN_LANES;
}

/* The window, the sums of a row, the list of steps. */
static int64_t scratch_bytes(const dn_conv_problem *problem)
{
    const int64_t steps = vector_floats(problem) / DN_LANES;
    return 4 * (window_floats(problem) + row_floats(problem)) +
           steps * (int64_t)sizeof(dn_conv_step);
}

static int32_t tasks(const dn_conv_call *call, int32_t phase, int32_t threads)
{
    (void)phase, (void)threads;
    return call->problem.images * row_tasks(&call->problem);
}

/* (c, rows, columns): input rows from `first` on, zeros beyond the image. */
static void fill_window(const dn_conv_geometry *g, const float *in, int32_t first, int32_t rows,
                        float *to)
{
    const int32_t width = window_w(g), left = g->pad < width ? g->pad : width;
    const int32_t live = g->w < width - left ? g->w : width - left;
    for (int32_t c = 0; c < g->c; ++c)
        for (int32_t y = first; y < first + rows; ++y, to += width) {
            memset(to, 0, (size_t)width * sizeof *to);
            if (y >= 0 && y < g->h)
                memcpy(to + left, in + ((int64_t)c * g->h + y) * g->w, (size_t)live * sizeof *to);
        }
}

static void list_steps(const dn_conv_geometry *g, int32_t height, int32_t vectors,
                       dn_conv_step *steps)
{
    const int32_t taps = g->size * g->size, together = takes_rows(g) ? ROW_TAPS : 1;
    for (int32_t i = 0; i < g->c * taps; i += together) {
        const int64_t c = i / taps, row = i % taps / g->size, column = i % g->size;
        const int64_t y = c * height + row * g->dilation;
        *steps++ =
            (dn_conv_step){y * window_w(g) + column * g->dilation, (int64_t)i * vectors * DN_LANES};
    }
}

static void run_row(dn_conv_tile tile, int32_t vectors, int32_t width, int32_t kind)
{
    const int32_t count = dn_tiles_of_row(width, vectors == 2 ? PIXELS_2 : PIXELS_1);
    for (int32_t i = 0; i < count; ++i) {
        const int32_t p = dn_tile_width(width, count, i);
        (vectors == 2 ? kernels_of_2[p - 1][kind] : kernels_of_1[p - 1][kind])(&tile);
        tile.in += p * tile.in_pixel;
        tile.to += p * DN_LANES;
    }
}

/* What a task works on: output rows [row, end) and the input that they read. */
typedef struct work {
    const dn_conv_call *call;
    int32_t image, row, end;
    const float *window; /* (c, height, window_w) */
    int32_t height;
    float *sums; /* of one row, where the tiles cannot finish */
    dn_conv_step *steps;
} work;

/* One pair of output vectors. */
static void run_pair(const work *w, int32_t pair)
{
    const dn_conv_call *call = w->call;
    const dn_conv_problem *problem = &call->problem;
    const dn_conv_geometry *g = &problem->geometry;
    const int32_t vectors = vectors_of(problem, pair);
    const int32_t taps = g->c * g->size * g->size;
    const int64_t plane = (int64_t)g->out_h * g->out_w * DN_LANES;
    const float *shift = call->shift + 2 * pair * DN_LANES;
    dn_conv_tile tile = {.in_pixel = g->stride_x,
                         .weights = (const float *)call->packed + 2 * pair * vector_floats(problem),
                         .steps = w->steps,
                         .step_count = takes_rows(g) ? taps / ROW_TAPS : taps};
    const bool in_tile = dn_activation_slope(problem->activation, &tile.slope);
    tile.shift = in_tile ? shift : NULL;
    tile.to_vector = in_tile ? plane : (int64_t)g->out_w * DN_LANES;
    list_steps(g, w->height, vectors, w->steps);
    for (int32_t y = w->row; y < w->end; ++y) {
        float *out = call->out.data + w->image * call->out.image_stride + 2 * pair * plane +
                     (int64_t)y * g->out_w * DN_LANES;
        tile.in = w->window + (int64_t)(y - w->row) * g->stride_y * window_w(g);
        tile.to = in_tile ? out : w->sums;
        run_row(tile, vectors, g->out_w, takes_rows(g) ? g->stride_x > 1 : 2);
        for (int32_t v = 0; !in_tile && v < vectors; ++v)
            dn_epilogue_row(problem, w->sums + v * tile.to_vector, g->out_w, shift + v * DN_LANES,
                            NULL, out + v * plane);
    }
}

static void run(const dn_conv_call *call, int32_t phase, int32_t task, void *scratch)
{
    (void)phase;
    const dn_conv_problem *problem = &call->problem;
    const dn_conv_geometry *g = &problem->geometry;
    const int32_t rows = rows_of_task(problem), row = task % row_tasks(problem) * rows;
    work w = {.call = call, .image = task / row_tasks(problem), .row = row, .window = scratch};
    w.end = row + rows < g->out_h ? row + rows : g->out_h;
    w.height = window_h(g, w.end - row);
    w.sums = (float *)scratch + window_floats(problem);
    w.steps = (dn_conv_step *)(w.sums + row_floats(problem));
    fill_window(g, call->in.data + w.image * call->in.image_stride, row * g->stride_y - g->pad,
                w.height, scratch);
    for (int32_t pair = 0; pair < pack_tasks(problem); ++pair) run_pair(&w, pair);
}

extern const dn_conv_form DN_ISA_NAME(dn_conv_first);
const dn_conv_form DN_ISA_NAME(dn_conv_first) = {
    .name = "first",
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
