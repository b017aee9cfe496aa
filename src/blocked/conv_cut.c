/* See conv_cut.h. */
#include "blocked/conv_cut.h"

enum {
    WEIGHT_BYTES = 20 << 10,  /* a chunk's weights: most of a first cache of 32 KiB */
    WINDOW_BYTES = 256 << 10, /* a task's input: half of a second cache of 512 KiB */
    COPY_FILTERS = 48,        /* of a 1x1 convolution, at least, that pay for copying its input */
    FLAT_TILES = 8,           /* tiles in a row of a 1x1 convolution */
    MOST_TASKS = 48,          /* of a batch; enough for 16 threads */
    LEAST_FLOPS = 2000000,    /* of a task: some 20 microseconds */
    LEAST_PIXELS = 48,        /* of a task: each chunk's weights are read for so many */
    LEAST_ROWS = 4            /* of a task that copies, where there are as many */
};

static int32_t at_least_1(int64_t x)
{
    return x < 1 ? 1 : (int32_t)x;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static void cut_rows(const dn_conv_problem *problem, dn_conv_cut *cut)
{
    const dn_conv_geometry *g = &problem->geometry;
    cut->flat = g->size == 1 && g->stride_x == 1 && g->stride_y == 1 && g->pad == 0 &&
                g->out_h == g->h && g->out_w == g->w;
    if (cut->flat) {
        const int32_t plane = g->h * g->w;
        cut->width = least(plane, FLAT_TILES * DN_TILE_PIXELS_2);
        cut->rows = (plane + cut->width - 1) / cut->width;
        cut->last_width = plane - (cut->rows - 1) * cut->width;
        cut->in_w = cut->window_w = cut->width;
        cut->copies = problem->filters >= COPY_FILTERS;
        return;
    }
    cut->rows = g->out_h;
    cut->width = cut->last_width = g->out_w;
    cut->in_w = g->w;
    cut->window_w = (g->out_w - 1) * g->stride_x + (g->size - 1) * g->dilation + 1;
    cut->copies = g->pad > 0 || cut->window_w > g->w;
}

static int64_t window_bytes(const dn_conv_problem *problem, const dn_conv_cut *cut, int32_t rows)
{
    return 4LL * DN_LANES * cut->in_blocks * cut->window_w * dn_conv_cut_in_rows(problem, rows);
}

/* Deep layers have more weights than input: their tasks divide the filters, so that weights are
 * read once; the others divide the rows. */
static void cut_tasks(const dn_conv_problem *problem, dn_conv_cut *cut)
{
    const dn_conv_geometry *g = &problem->geometry;
    const int32_t items = problem->groups * cut->pairs;
    const int64_t weights = (int64_t)g->c * g->size * g->size * problem->filters;
    const int64_t macs = weights * problem->groups * g->out_h * g->out_w;
    const int32_t images = at_least_1(problem->images);
    const int32_t target =
        least(at_least_1(2 * macs / LEAST_FLOPS), (MOST_TASKS + images - 1) / images);

    cut->items_outside = weights > (int64_t)g->c * g->h * g->w;
    const int32_t most_row_tasks =
        at_least_1(cut->copies && !cut->flat ? cut->rows / LEAST_ROWS : cut->rows);
    const int32_t row_tasks = cut->items_outside ? 1 : least(target, most_row_tasks);
    cut->task_rows = (cut->rows + row_tasks - 1) / row_tasks;
    while ((cut->task_rows - 1) * cut->width >= LEAST_PIXELS &&
           window_bytes(problem, cut, cut->task_rows) > WINDOW_BYTES) {
        const int32_t tasks = (cut->rows + cut->task_rows - 1) / cut->task_rows + 1;
        cut->task_rows = least(cut->task_rows - 1, (cut->rows + tasks - 1) / tasks);
    }
    cut->row_tasks = (cut->rows + cut->task_rows - 1) / cut->task_rows;
    const int32_t item_tasks = least(items, (target + cut->row_tasks - 1) / cut->row_tasks);
    cut->task_items = (items + item_tasks - 1) / item_tasks;
    cut->item_tasks = (items + cut->task_items - 1) / cut->task_items;
}

dn_conv_cut DN_ISA_NAME(dn_conv_cut_of)(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    dn_conv_cut cut = {.in_blocks = dn_blocks(g->c, DN_LANES),
                       .vectors = dn_blocks(problem->filters, DN_LANES)};
    cut.pairs = (cut.vectors + 1) / 2;
    const int32_t block_bytes = 4 * g->size * g->size * DN_LANES * 2 * DN_LANES;
    const int32_t most = at_least_1(WEIGHT_BYTES / block_bytes);
    const int32_t chunks = (cut.in_blocks + most - 1) / most; /* of the same size, nearly */
    cut.chunk = (cut.in_blocks + chunks - 1) / chunks;
    cut_rows(problem, &cut);
    cut_tasks(problem, &cut);
    return cut;
}
