/* A task of the direct form: see conv_direct.h.
 *
 * It goes over its pairs of output vectors; for each, chunk by chunk of input channels over all its
 * pixels. Sums between chunks wait in the scratch. linear, leaky and relu end in the tile; other
 * activations, additions and planar outputs take a second look at each row.
 */
#include "blocked/conv_direct.h"

#include "blocked/conv_cut.h"
#include "blocked/epilogue.h"
#include "blocked/transpose.h"

#include <stddef.h>

static int64_t window_floats(const dn_conv_problem *problem, const dn_conv_cut *cut)
{
    if (!cut->copies) return 0;
    return (int64_t)cut->in_blocks * cut->window_w * DN_LANES *
           dn_conv_cut_in_rows(problem, cut->task_rows);
}

static int64_t sums_floats(const dn_conv_cut *cut)
{
    return (int64_t)cut->task_rows * cut->width * DN_TILE_VECTORS * DN_LANES;
}

static int64_t most_steps(const dn_conv_problem *problem, const dn_conv_cut *cut)
{
    const int64_t size = problem->geometry.size;
    return cut->chunk * size * size * (DN_LANES / DN_TILE_CHANNELS);
}

/* The window, the sums, the list of steps. */
int64_t DN_ISA_NAME(dn_conv_direct_scratch)(const dn_conv_problem *problem)
{
    const dn_conv_cut cut = DN_ISA_NAME(dn_conv_cut_of)(problem);
    return 4 * (window_floats(problem, &cut) + sums_floats(&cut)) +
           most_steps(problem, &cut) * (int64_t)sizeof(dn_conv_step);
}

/* What a task works on. Its input is a window: rows from input row `first` on, of one group. */
typedef struct work {
    const dn_conv_call *call;
    const dn_conv_cut *cut;
    const dn_conv_products *products;
    int32_t image, row, row_end; /* output rows */
    const float *window;
    int64_t window_block, window_row; /* floats */
    int32_t first;
    float *sums; /* (rows, vectors, width, lanes) */
    dn_conv_step *steps;
} work;

/* Input rows [first, end) of a group with zeros for the columns beyond it. Pieces of a 1x1
 * convolution lie in the scratch without the distances between blocks that caches do not like. */
static void copy_window(const work *w, const float *in, int32_t end, float *to)
{
    const dn_conv_cut *cut = w->cut;
    const dn_conv_geometry *g = &w->call->problem.geometry;
    const int32_t left = g->pad < cut->window_w ? g->pad : cut->window_w;
    const int32_t rest = cut->window_w - left, whole = cut->in_w < rest ? cut->in_w : rest;
    const int64_t plane = (int64_t)g->h * g->w;
    const dn_vec zero = dn_vec_set(0.0f);
    for (int32_t b = 0; b < cut->in_blocks; ++b)
        for (int32_t y = w->first; y < end; ++y) {
            const float *from = in + (b * plane + (int64_t)y * cut->in_w) * DN_LANES;
            float *row = to + b * w->window_block + (y - w->first) * w->window_row;
            const int32_t live = cut->flat && y + 1 == cut->rows ? cut->last_width : whole;
            for (int32_t x = 0; x < left; ++x, row += DN_LANES) dn_vec_store(row, zero);
            for (int32_t x = 0; x < live; ++x, row += DN_LANES)
                dn_vec_store(row, dn_vec_load(from + x * DN_LANES));
            for (int32_t x = live; x < rest; ++x, row += DN_LANES) dn_vec_store(row, zero);
        }
}

static void open_window(work *w, int32_t group, float *scratch)
{
    const dn_conv_problem *problem = &w->call->problem;
    const dn_conv_geometry *g = &problem->geometry;
    const float *in = w->call->in.data + w->image * w->call->in.image_stride +
                      (int64_t)group * w->cut->in_blocks * g->h * g->w * DN_LANES;
    w->window = in;
    w->window_block = (int64_t)g->h * g->w * DN_LANES;
    w->window_row = (int64_t)w->cut->in_w * DN_LANES;
    w->first = 0;
    if (!w->cut->copies) return;
    const int32_t from = w->row * g->stride_y - g->pad;
    const int32_t to = from + dn_conv_cut_in_rows(problem, w->row_end - w->row);
    w->first = from < 0 ? 0 : from;
    w->window = scratch;
    w->window_row = (int64_t)w->cut->window_w * DN_LANES;
    w->window_block = w->window_row * dn_conv_cut_in_rows(problem, w->cut->task_rows);
    const int32_t in_h = w->cut->flat ? w->cut->rows : g->h;
    copy_window(w, in, to < in_h ? to : in_h, scratch);
}

/* Rows of taps that lie in the image for output row `row`: tile->rows from *first on. */
static int32_t live_taps(const dn_conv_geometry *g, int32_t row, int32_t *first)
{
    const int32_t y = row * g->stride_y - g->pad;
    int32_t begin = 0, end = g->size;
    while (begin < end && y + begin * g->dilation < 0) ++begin;
    while (begin < end && y + (end - 1) * g->dilation >= g->h) --end;
    *first = begin < end ? begin : 0;
    return end - begin;
}

/* The next chunk's weights follow this chunk's: each tile asks for its part of them, so that they
 * are near when their turn comes. */
typedef struct ahead {
    const char *next;
    int32_t lines, lines_of_tile; /* cache lines to go */
} ahead;

static void ask_ahead(ahead *a)
{
    for (int32_t i = 0; i < a->lines_of_tile && a->lines > 0; ++i, --a->lines, a->next += 64)
        __builtin_prefetch(a->next, 0, 2);
}

static int32_t tiles_of_row(int32_t vectors, int32_t width)
{
    return dn_tiles_of_row(width, vectors == 2 ? DN_TILE_PIXELS_2 : DN_TILE_PIXELS_1);
}

static void run_row(const work *w, dn_conv_tile *tile, int32_t vectors, int32_t width, ahead *next)
{
    const int32_t stride = w->call->problem.geometry.stride_x;
    const int32_t count = tiles_of_row(vectors, width);
    for (int32_t i = 0; i < count; ++i) {
        const int32_t p = dn_tile_width(width, count, i);
        ask_ahead(next);
        w->products->kernel(vectors, p, stride)(tile);
        tile->in += p * tile->in_pixel;
        tile->to += p * DN_LANES;
        if (tile->from) tile->from += p * DN_LANES;
    }
}

/* Some input blocks of a pair, for all rows of the task. */
typedef struct chunk {
    int32_t first, end;      /* blocks */
    int32_t first_tap, taps; /* rows of taps that the list of steps has; taps < 0: none yet */
    ahead next;
} chunk;

/* Lists the steps: blocks, rows and columns of taps, channels. Returns their number. */
static int32_t list_steps(const work *w, const chunk *part, int32_t vectors)
{
    const dn_conv_geometry *g = &w->call->problem.geometry;
    const int32_t surplus = w->cut->in_blocks * DN_LANES - g->c;
    dn_conv_step *step = w->steps;
    for (int32_t b = part->first; b < part->end; ++b) {
        const bool last = b + 1 == w->cut->in_blocks;
        const int32_t channels =
            DN_LANES - (last ? surplus / DN_TILE_CHANNELS * DN_TILE_CHANNELS : 0);
        for (int32_t i = 0; i < part->taps * g->size; ++i) {
            const int32_t row = i / g->size, column = i % g->size;
            const int64_t in = b * w->window_block + row * g->dilation * w->window_row +
                               (int64_t)column * g->dilation * DN_LANES;
            const int64_t tap = (int64_t)b * g->size * g->size + part->first_tap * g->size + i;
            for (int32_t c = 0; c < channels; c += DN_TILE_CHANNELS)
                *step++ = (dn_conv_step){in + c, (tap * DN_LANES + c) * vectors * DN_LANES};
        }
    }
    return (int32_t)(step - w->steps);
}

/* `out`: the pair's first output vector, where the tiles themselves finish, else NULL. */
static void run_chunk(const work *w, dn_conv_tile tile, chunk part, int32_t vectors, float *out)
{
    const dn_conv_cut *cut = w->cut;
    const dn_conv_geometry *g = &w->call->problem.geometry;
    tile.to_vector = out ? (int64_t)g->out_h * g->out_w * DN_LANES : tile.from_vector;
    for (int32_t row = w->row; row < w->row_end; ++row) {
        int32_t first_tap = 0;
        const int32_t taps = cut->flat ? 1 : live_taps(g, row, &first_tap);
        const int32_t y = cut->flat ? row : row * g->stride_y - g->pad + first_tap * g->dilation;
        if (taps != part.taps || first_tap != part.first_tap) {
            part.taps = taps;
            part.first_tap = first_tap;
            tile.step_count = list_steps(w, &part, vectors);
        }
        tile.in = w->window + (taps > 0 ? (y - w->first) * w->window_row : 0);
        float *sums = w->sums + (int64_t)(row - w->row) * cut->width * vectors * DN_LANES;
        tile.from = part.first > 0 ? sums : NULL;
        tile.to = out ? out + (int64_t)row * cut->width * DN_LANES : sums;
        run_row(w, &tile, vectors, row + 1 < cut->rows ? cut->width : cut->last_width, &part.next);
    }
}

/* The rows' sums, one vector, into the output. */
static void finish_vector(const work *w, int32_t vector, int32_t vectors, int32_t channel)
{
    const dn_conv_call *call = w->call;
    const dn_conv_cut *cut = w->cut;
    const dn_conv_geometry *g = &call->problem.geometry;
    const int64_t plane = (int64_t)g->out_h * g->out_w;
    const int32_t rest = call->problem.groups * call->problem.filters - channel;
    for (int32_t row = w->row; row < w->row_end; ++row) {
        float *sums =
            w->sums + ((row - w->row) * (int64_t)vectors + vector) * cut->width * DN_LANES;
        const int32_t width = row + 1 < cut->rows ? cut->width : cut->last_width;
        const int64_t at = channel * plane + (int64_t)row * cut->width * DN_LANES;
        if (!call->problem.planar_out) {
            const float *add =
                call->problem.adds ? call->add.data + w->image * call->add.image_stride + at : NULL;
            dn_epilogue_row(&call->problem, sums, width, call->shift + channel, add,
                            call->out.data + w->image * call->out.image_stride + at);
            continue;
        }
        dn_epilogue_row(&call->problem, sums, width, call->shift + channel, NULL, sums);
        float *out = call->out.data + w->image * call->out.image_stride + channel * plane +
                     (int64_t)row * cut->width;
        dn_block_to_planes(sums, width, rest, plane, out);
    }
}

/* more: there are weights behind this chunk's. */
static ahead look_ahead(const work *w, const dn_conv_tile *tile, const chunk *part, int32_t vectors,
                        bool more)
{
    const int64_t size = w->call->problem.geometry.size;
    const int64_t block = size * size * DN_LANES * vectors * DN_LANES;
    const int32_t lines = more ? (int32_t)(w->cut->chunk * block * 4 / 64) : 0;
    const int32_t tiles = tiles_of_row(vectors, w->cut->width) * (w->row_end - w->row);
    return (ahead){.next = (const char *)(tile->weights + part->end * block),
                   .lines = lines,
                   .lines_of_tile = (lines + tiles - 1) / tiles};
}

static void run_item(const work *w, int32_t item)
{
    const dn_conv_call *call = w->call;
    const dn_conv_problem *problem = &call->problem;
    const dn_conv_geometry *g = &problem->geometry;
    const dn_conv_cut *cut = w->cut;
    const int32_t group = item / cut->pairs;
    const int32_t channel = group * problem->filters + item % cut->pairs * 2 * DN_LANES;
    int32_t vectors;
    dn_conv_tile tile = {.in_pixel = g->stride_x * DN_LANES,
                         .weights = (const float *)call->packed +
                                    DN_ISA_NAME(dn_conv_direct_item)(problem, item, &vectors),
                         .steps = w->steps,
                         .from_vector = cut->width * DN_LANES};
    const bool in_tile = !problem->adds && !problem->planar_out &&
                         dn_activation_slope(problem->activation, &tile.slope);
    float *out =
        call->out.data + w->image * call->out.image_stride + (int64_t)channel * g->out_h * g->out_w;
    for (int32_t block = 0; block < cut->in_blocks; block += cut->chunk) {
        chunk part = {.first = block, .end = block + cut->chunk, .taps = -1};
        const bool last = part.end >= cut->in_blocks;
        if (last) part.end = cut->in_blocks;
        part.next =
            look_ahead(w, &tile, &part, vectors, !last || item + 1 < problem->groups * cut->pairs);
        tile.start = block == 0 && w->products->start ? w->products->start + channel : NULL;
        tile.scale = last && w->products->scale ? w->products->scale + channel : NULL;
        tile.shift = last && in_tile ? call->shift + channel : NULL;
        run_chunk(w, tile, part, vectors, tile.shift ? out : NULL);
    }
    for (int32_t v = 0; !in_tile && v < vectors; ++v)
        finish_vector(w, v, vectors, channel + v * DN_LANES);
}

void DN_ISA_NAME(dn_conv_direct_task)(const dn_conv_call *call, const dn_conv_products *products,
                                      int32_t task, void *scratch)
{
    const dn_conv_cut cut = DN_ISA_NAME(dn_conv_cut_of)(&call->problem);
    const int32_t image_rows = call->problem.images * cut.row_tasks;
    const int32_t at = cut.items_outside ? task % image_rows : task / cut.item_tasks;
    const int32_t item_task = cut.items_outside ? task / image_rows : task % cut.item_tasks;
    work w = {.call = call, .cut = &cut, .products = products, .image = at / cut.row_tasks};
    w.row = at % cut.row_tasks * cut.task_rows;
    w.row_end = w.row + cut.task_rows < cut.rows ? w.row + cut.task_rows : cut.rows;
    w.sums = (float *)scratch + window_floats(&call->problem, &cut);
    w.steps = (dn_conv_step *)(w.sums + sums_floats(&cut));
    const int32_t first = item_task * cut.task_items, items = call->problem.groups * cut.pairs;
    int32_t group = -1;
    for (int32_t item = first; item < items && item < first + cut.task_items; ++item) {
        if (item / cut.pairs != group) open_window(&w, group = item / cut.pairs, scratch);
        run_item(&w, item);
    }
}
