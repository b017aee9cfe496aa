/* The first layer: a planar input of a few channels, a blocked output.
 *
 * A task copies the input rows that it reads into its scratch, with zeros around, and goes over
 * its output rows with the direct form's register tiles; each step broadcasts one input value a
 * pixel. All taps and channels are summed in one go: they are few, so the weights stay in the first
 * cache. One group.
 */
#include "blocked/conv_tile_steps.h"
#include "blocked/epilogue.h"

#include <stddef.h>

enum {
    TASK_PRODUCTS = 1000000, /* of a task, at least: some 20 microseconds */
    MOST_TASKS = 48          /* of a batch */
};

DN_INLINE void run_tile(const dn_conv_tile *tile, int vectors, int pixels, int64_t in_pixel)
{
    dn_vec sums[DN_TILE_VECTORS][DN_TILE_PIXELS];
    dn_tile_start(tile, vectors, pixels, sums);
    const float *weights = tile->weights;
    for (int32_t c = 0; c < tile->blocks; ++c)
        for (int32_t row = 0; row < tile->rows; ++row) {
            const float *in = tile->in + c * tile->in_block + row * tile->in_row;
            for (int32_t tap = 0; tap < tile->taps; ++tap) {
                /* as in conv_tile.c: no values may wait in registers for the next round */
                __asm__("" : "+r"(in));
                dn_tile_step(vectors, pixels, in, in_pixel, weights, sums);
                in += tile->in_tap;
                weights += vectors * DN_LANES;
            }
        }
    dn_tile_end(tile, vectors, pixels, sums);
}

#define KERNELS(vectors, pixels)                                                                   \
    static void tile_##vectors##_##pixels##_stride_1(const dn_conv_tile *tile)                     \
    {                                                                                              \
        run_tile(tile, vectors, pixels, 1);                                                        \
    }                                                                                              \
    static void tile_##vectors##_##pixels##_any(const dn_conv_tile *tile)                          \
    {                                                                                              \
        run_tile(tile, vectors, pixels, tile->in_pixel);                                           \
    }
#define NAMES(vectors, pixels)                                                                     \
    {tile_##vectors##_##pixels##_stride_1, tile_##vectors##_##pixels##_any},
#define SIX(X, v) X(v, 1) X(v, 2) X(v, 3) X(v, 4) X(v, 5) X(v, 6)

enum { PIXELS = 6 };
SIX(KERNELS, 1)
SIX(KERNELS, 2)
static const dn_conv_tile_run kernels[2][PIXELS][2] = {{SIX(NAMES, 1)}, {SIX(NAMES, 2)}};

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
    return products / ((DN_LANES == 16 ? 1 : 2) * 0.7) / 3500 /
               (threads < tasks ? threads : tasks) +
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

static int64_t scratch_bytes(const dn_conv_problem *problem)
{
    return 4 *
           (window_floats(problem) + (int64_t)problem->geometry.out_w * DN_TILE_VECTORS * DN_LANES);
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
    const int32_t width = window_w(g);
    for (int32_t c = 0; c < g->c; ++c)
        for (int32_t y = first; y < first + rows; ++y, to += width) {
            const bool inside = y >= 0 && y < g->h;
            const float *from = inside ? in + ((int64_t)c * g->h + y) * g->w : NULL;
            for (int32_t i = 0; i < width; ++i) {
                const int32_t x = i - g->pad;
                to[i] = inside && x >= 0 && x < g->w ? from[x] : 0.0f;
            }
        }
}

static void run_row(dn_conv_tile tile, int32_t vectors, int32_t width, int32_t stride)
{
    const int32_t count = (width + PIXELS - 1) / PIXELS, pixels = width / count;
    int32_t wider = width % count; /* so many tiles have one pixel more */
    for (int32_t i = 0; i < count; ++i) {
        const int32_t p = pixels + (wider-- > 0);
        kernels[vectors - 1][p - 1][stride > 1](&tile);
        tile.in += p * tile.in_pixel;
        tile.to += p * DN_LANES;
    }
}

/* One pair of output vectors of one row; `sums`: of the row, where the tile cannot finish. */
static void run_pair(const dn_conv_call *call, dn_conv_tile tile, int32_t pair, float *out,
                     float *sums)
{
    const dn_conv_problem *problem = &call->problem;
    const dn_conv_geometry *g = &problem->geometry;
    const int32_t vectors = vectors_of(problem, pair);
    const int64_t plane = (int64_t)g->out_h * g->out_w * DN_LANES;
    const float *shift = call->shift + 2 * pair * DN_LANES;
    const bool in_tile = dn_activation_slope(problem->activation, &tile.slope);
    tile.weights = (const float *)call->packed + 2 * pair * vector_floats(problem);
    tile.shift = in_tile ? shift : NULL;
    tile.to_vector = in_tile ? plane : (int64_t)g->out_w * DN_LANES;
    out += 2 * pair * plane;
    tile.to = in_tile ? out : sums;
    run_row(tile, vectors, g->out_w, g->stride_x);
    for (int32_t v = 0; !in_tile && v < vectors; ++v)
        dn_epilogue_row(problem, sums + v * tile.to_vector, g->out_w, shift + v * DN_LANES, NULL,
                        out + v * plane);
}

static void run(const dn_conv_call *call, int32_t phase, int32_t task, void *scratch)
{
    (void)phase;
    const dn_conv_problem *problem = &call->problem;
    const dn_conv_geometry *g = &problem->geometry;
    const int32_t task_rows = rows_of_task(problem), image = task / row_tasks(problem);
    const int32_t row = task % row_tasks(problem) * task_rows;
    const int32_t rows = row + task_rows < g->out_h ? task_rows : g->out_h - row;
    float *window = scratch, *sums = window + window_floats(problem);
    const int32_t height = window_h(g, rows);
    fill_window(g, call->in.data + image * call->in.image_stride, row * g->stride_y - g->pad,
                height, window);
    dn_conv_tile tile = {.in_pixel = g->stride_x,
                         .in_block = (int64_t)height * window_w(g),
                         .in_row = (int64_t)g->dilation * window_w(g),
                         .in_tap = g->dilation,
                         .blocks = g->c,
                         .rows = g->size,
                         .taps = g->size};
    for (int32_t y = 0; y < rows; ++y) {
        tile.in = window + (int64_t)y * g->stride_y * window_w(g);
        float *out = call->out.data + image * call->out.image_stride +
                     (int64_t)(row + y) * g->out_w * DN_LANES;
        for (int32_t pair = 0; pair < pack_tasks(problem); ++pair)
            run_pair(call, tile, pair, out, sums);
    }
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
