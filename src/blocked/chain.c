/* See chain.h. */
#include "blocked/chain_kernels.h"

#include "blocked/depthwise_row.h"
#include "blocked/epilogue.h"
#include "blocked/pointwise.h"

#include <stddef.h>

enum {
    MOST_TAPS = 7,          /* rows of taps of a depthwise link */
    MOST_WEIGHTS = 1 << 16, /* of all links: half of a second cache of 512 KiB */
    MOST_SCRATCH = 3 << 17, /* bytes */
    RUN = 96,               /* pixels of the output that are made at a time, at least */
    TASKS_A_THREAD = 2,
    LEAST_ROWS = 6,        /* of a task, where a depthwise link makes bands overlap */
    TASK_PRODUCTS = 100000 /* vectors multiplied in a task, at least: some 20 microseconds */
};

extern const dn_conv_form DN_ISA_NAME(dn_conv_depthwise);

static bool is_depthwise(const dn_chain_link *link)
{
    return link->form == &DN_ISA_NAME(dn_conv_depthwise);
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t most(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* Input rows, or columns, between the first and the last tap, both included. */
static int32_t reach(const dn_conv_geometry *g)
{
    return (g->size - 1) * g->dilation + 1;
}

/* ---- tensors between links ---- */

/* Rows of a tensor: a whole one, or some rows in the scratch, where row y lies at y % rows. */
typedef struct band {
    float *data;
    int64_t block;              /* floats from one block of channels to the next */
    int32_t width, pitch, left; /* pixels of a row; from row to row; zeros before each */
    int32_t rows;
    int32_t next; /* rows before this one are there, as far as they are needed */
} band;

/* A task at work: band i is what link i reads, band i + 1 what it writes. */
typedef struct work {
    const dn_chain *chain;
    int32_t image, row_end;
    band bands[DN_CHAIN_MOST + 1];
    const float *zeros; /* a row beyond the image */
    float *sums;
} work;

static const dn_conv_problem *problem_of(const dn_chain *chain, int32_t link)
{
    return &chain->links[link].call->problem;
}

/* Rows of the last link's output that are made at a time. */
static int32_t unit_of(const dn_chain *chain)
{
    const dn_conv_geometry *g = &problem_of(chain, chain->length - 1)->geometry;
    return least(g->out_h, (RUN + g->out_w - 1) / g->out_w);
}

/* A place in the scratch; with w NULL, for their sizes alone. */
static float *take(float **scratch, int64_t floats, int64_t *all)
{
    float *place = *scratch;
    *all += floats;
    if (place) *scratch += floats;
    return place;
}

/* Finds places for the bands in the scratch (NULL: nowhere); the floats that they take. */
static int64_t lay_out(const dn_chain *chain, float *scratch, work *w)
{
    int32_t rows = unit_of(chain), zeros = 0;
    int64_t all = 0, sums = 0;
    for (int32_t i = chain->length - 1; i >= 0; --i) {
        const dn_conv_problem *problem = problem_of(chain, i);
        const dn_conv_geometry *g = &problem->geometry;
        const bool depthwise = is_depthwise(&chain->links[i]);
        const int32_t channels = g->c * problem->groups;
        band *b = &w->bands[i];
        *b = (band){.width = g->w, .pitch = g->w, .rows = rows};
        if (depthwise) {
            const int32_t window = (g->out_w - 1) * g->stride_x + reach(g);
            b->rows = (rows - 1) * g->stride_y + reach(g);
            b->left = g->pad;
            b->pitch = most(window, g->pad + g->w);
            zeros = most(zeros, b->pitch);
        } else if (sums < DN_ISA_NAME(dn_pointwise_sums)(rows * g->w)) {
            sums = DN_ISA_NAME(dn_pointwise_sums)(rows * g->w);
        }
        rows = b->rows;
        b->block = (int64_t)b->rows * b->pitch * DN_LANES;
        if (i > 0 || depthwise)
            b->data = take(&scratch, dn_blocks(channels, DN_LANES) * b->block, &all);
    }
    w->sums = take(&scratch, sums, &all);
    w->zeros = take(&scratch, (int64_t)zeros * DN_LANES, &all);
    return all;
}

/* Where a row of a band begins, with its zeros. */
static float *row_of(const band *b, int32_t block, int32_t y)
{
    return b->data + block * b->block + (int64_t)(y % b->rows) * b->pitch * DN_LANES;
}

/* ---- links ---- */

/* Rows of the chain's input, for a depthwise link that comes first. */
static void copy_rows(const work *w, int32_t end)
{
    const band *to = &w->bands[0];
    const dn_blocked *in = &w->chain->links[0].call->in;
    for (int32_t block = 0; block < dn_blocks(in->c, DN_LANES); ++block)
        for (int32_t y = to->next; y < end; ++y) {
            const float *from = in->data + w->image * in->image_stride +
                                ((int64_t)block * in->h + y) * in->w * DN_LANES;
            memcpy(row_of(to, block, y) + to->left * DN_LANES, from,
                   (size_t)in->w * DN_LANES * sizeof *from);
        }
}

/* Rows y..end-1 that lie without a break in both bands; the last link's may be planar. */
static void run_pointwise(const work *w, int32_t link, int32_t y, int32_t end)
{
    const dn_conv_call *call = w->chain->links[link].call;
    const band *from = &w->bands[link], *to = &w->bands[link + 1];
    const int32_t out_pixel = call->problem.planar_out ? 1 : DN_LANES;
    dn_pointwise_rows rows = {.in = row_of(from, 0, y) + from->left * DN_LANES,
                              .in_block = from->block,
                              .in_row = (int64_t)from->pitch * DN_LANES,
                              .out_block = to->block,
                              .out_row = (int64_t)to->pitch * out_pixel,
                              .rows = end - y,
                              .width = from->width};
    rows.out = to->data + ((int64_t)(y % to->rows) * to->pitch + to->left) * out_pixel;
    if (call->problem.adds) {
        const int64_t row = (int64_t)call->add.w * DN_LANES;
        rows.add = call->add.data + w->image * call->add.image_stride + y * row;
        rows.add_block = call->add.h * row;
        rows.add_row = row;
    }
    if (from->pitch == rows.width && to->pitch == rows.width) {
        rows.width *= rows.rows;
        rows.rows = 1;
    }
    DN_ISA_NAME(dn_pointwise_run)(call, &rows, 0, INT32_MAX / 2, w->sums);
}

static void run_pointwise_rows(const work *w, int32_t link, int32_t end)
{
    const band *from = &w->bands[link], *to = &w->bands[link + 1];
    for (int32_t y = to->next; y < end;) {
        const int32_t whole = least(from->rows - y % from->rows, to->rows - y % to->rows);
        const int32_t last = least(end, y + whole);
        run_pointwise(w, link, y, last);
        y = last;
    }
}

static void run_depthwise_rows(const work *w, int32_t link, int32_t end)
{
    const dn_conv_call *call = w->chain->links[link].call;
    const dn_conv_geometry *g = &call->problem.geometry;
    const band *from = &w->bands[link], *to = &w->bands[link + 1];
    const float *taps[MOST_TAPS];
    dn_depthwise_row row = {.geometry = g, .rows = taps, .slope = 1.0f};
    const bool ends = dn_activation_slope(call->problem.activation, &row.slope);
    if (!ends) row.slope = 1.0f;
    for (int32_t block = 0; block < dn_blocks(call->problem.groups, DN_LANES); ++block) {
        const float *shift = call->shift + block * DN_LANES;
        row.weights = (const float *)call->packed + (int64_t)block * g->size * g->size * DN_LANES;
        row.shift = ends ? shift : NULL;
        for (int32_t y = to->next; y < end; ++y) {
            for (int32_t k = 0; k < g->size; ++k) {
                const int32_t in = y * g->stride_y - g->pad + k * g->dilation;
                taps[k] = in < 0 || in >= g->h ? w->zeros : row_of(from, block, in);
            }
            row.out = row_of(to, block, y) + to->left * DN_LANES;
            DN_ISA_NAME(dn_depthwise_row)(&row);
            if (!ends) dn_epilogue_row(&call->problem, row.out, g->out_w, shift, NULL, row.out);
        }
    }
}

/* Makes the rows of band i before `end`, and before that those of the bands before that they need.
 */
static void make(work *w, int32_t i, int32_t end)
{
    band *to = &w->bands[i];
    if (to->next >= end) return;
    if (i == 0) {
        copy_rows(w, end);
    } else if (is_depthwise(&w->chain->links[i - 1])) {
        const dn_conv_geometry *g = &problem_of(w->chain, i - 1)->geometry;
        make(w, i - 1, least(g->h, (end - 1) * g->stride_y - g->pad + reach(g)));
        run_depthwise_rows(w, i - 1, end);
    } else {
        make(w, i - 1, end);
        run_pointwise_rows(w, i - 1, end);
    }
    to->next = end;
}

/* ---- tasks ---- */

static void clear_columns(const band *b, int32_t channels)
{
    const int32_t right = b->pitch - b->left - b->width;
    for (int32_t block = 0; block < dn_blocks(channels, DN_LANES); ++block)
        for (int32_t y = 0; y < b->rows; ++y) {
            float *row = row_of(b, block, y);
            memset(row, 0, (size_t)b->left * DN_LANES * sizeof *row);
            memset(row + (b->left + b->width) * DN_LANES, 0,
                   (size_t)right * DN_LANES * sizeof *row);
        }
}

/* The band of a whole tensor; of a planar one, too: its blocks are as large. */
static band whole(const dn_blocked *tensor, int32_t image)
{
    const int64_t plane = (int64_t)tensor->h * tensor->w;
    return (band){.data = tensor->data + image * tensor->image_stride,
                  .block = plane * DN_LANES,
                  .width = tensor->w,
                  .pitch = tensor->w,
                  .rows = tensor->h};
}

/* The first row that each band has to make for the output from `row` on. */
static void begin_at(work *w, int32_t row)
{
    for (int32_t i = w->chain->length; i >= 0; --i) {
        w->bands[i].next = row;
        if (i == 0 || !is_depthwise(&w->chain->links[i - 1])) continue;
        const dn_conv_geometry *g = &problem_of(w->chain, i - 1)->geometry;
        row = least(g->h, most(0, row * g->stride_y - g->pad));
    }
}

void DN_ISA_NAME(dn_chain_run)(const dn_chain *chain, int32_t task, void *scratch)
{
    const int32_t length = chain->length, image = task / chain->row_tasks;
    const dn_conv_call *first = chain->links[0].call, *last = chain->links[length - 1].call;
    const int32_t row = task % chain->row_tasks * chain->task_rows, unit = unit_of(chain);
    const int32_t end = least(last->out.h, row + chain->task_rows);
    work w = {.chain = chain, .image = image};
    lay_out(chain, scratch, &w);
    begin_at(&w, row);
    if (!is_depthwise(&chain->links[0])) {
        w.bands[0] = whole(&first->in, image);
        w.bands[0].next = first->in.h;
    }
    w.bands[length] = whole(&last->out, image);
    w.bands[length].next = row;
    for (int32_t i = 0; i < length; ++i) {
        const dn_conv_problem *problem = problem_of(chain, i);
        if (!is_depthwise(&chain->links[i])) continue;
        clear_columns(&w.bands[i], problem->groups);
        memset((float *)w.zeros, 0, (size_t)w.bands[i].pitch * DN_LANES * sizeof(float));
    }
    for (int32_t y = row; y < end; y += unit) make(&w, length, least(end, y + unit));
}

static double products_of(const dn_chain *chain)
{
    double products = 0;
    for (int32_t i = 0; i < chain->length; ++i) {
        const dn_conv_problem *problem = problem_of(chain, i);
        const dn_conv_geometry *g = &problem->geometry;
        const double vectors = dn_blocks(problem->groups * problem->filters, DN_LANES);
        products += vectors * g->c * g->size * g->size * g->out_h * g->out_w;
    }
    return products;
}

int32_t DN_ISA_NAME(dn_chain_tasks)(dn_chain *chain, int32_t threads)
{
    const dn_conv_problem *last = problem_of(chain, chain->length - 1);
    const int32_t h = last->geometry.out_h, images = last->images;
    const int32_t wanted = threads > 1 ? TASKS_A_THREAD * threads : 1;
    const double pays = products_of(chain) / TASK_PRODUCTS;
    int32_t tasks = (wanted + images - 1) / images;
    if (tasks > pays) tasks = (int32_t)pays;
    tasks = most(1, least(tasks, h / LEAST_ROWS));
    chain->task_rows = (h + tasks - 1) / tasks;
    chain->row_tasks = (h + chain->task_rows - 1) / chain->task_rows;
    return images * chain->row_tasks;
}

int64_t DN_ISA_NAME(dn_chain_scratch)(const dn_chain *chain)
{
    work w;
    return 4 * lay_out(chain, NULL, &w);
}

const dn_conv_form *DN_ISA_NAME(dn_chain_form)(const dn_conv_problem *problem)
{
    const dn_conv_form *pointwise = &DN_ISA_NAME(dn_conv_pointwise);
    const dn_conv_form *depthwise = &DN_ISA_NAME(dn_conv_depthwise);
    const dn_conv_geometry *g = &problem->geometry;
    if (pointwise->fits(problem)) return pointwise;
    const bool filters = depthwise->fits(problem) && !problem->adds && g->size <= MOST_TAPS;
    return filters && g->stride_y <= reach(g) ? depthwise : NULL;
}

bool DN_ISA_NAME(dn_chain_fits)(const dn_chain *chain)
{
    int32_t depthwise = 0;
    int64_t weights = 0;
    for (int32_t i = 0; i < chain->length; ++i) {
        const dn_conv_problem *problem = problem_of(chain, i);
        const bool last = i + 1 == chain->length;
        if (!chain->links[i].form || (!last && (problem->adds || problem->planar_out)))
            return false;
        depthwise += is_depthwise(&chain->links[i]);
        weights += (int64_t)problem->geometry.c * problem->filters * problem->groups;
    }
    return depthwise <= 1 && weights <= MOST_WEIGHTS &&
           DN_ISA_NAME(dn_chain_scratch)(chain) <= MOST_SCRATCH;
}
