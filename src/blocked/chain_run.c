/* Runs a task of a chain: see chain.h. */
#include "blocked/chain_bands.h"

#include "blocked/depthwise_row.h"
#include "blocked/epilogue.h"
#include "blocked/pointwise.h"
#include "math/integers.h"

/* Where a row of a band begins, with its zeros. */
static float *row_of(const dn_chain_band *b, int32_t block, int32_t y)
{
    return b->data + block * b->block + (int64_t)(y % b->rows) * b->pitch * DN_LANES;
}

/* ---- links ---- */

/* Rows of the chain's input, for a depthwise link that comes first. */
static void copy_rows(const dn_chain_work *w, int32_t end)
{
    const dn_chain_band *to = &w->bands[0];
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
static void run_pointwise(const dn_chain_work *w, int32_t link, int32_t y, int32_t end)
{
    const dn_conv_call *call = w->chain->links[link].call;
    const dn_chain_band *from = &w->bands[link], *to = &w->bands[link + 1];
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

static void run_pointwise_rows(const dn_chain_work *w, int32_t link, int32_t end)
{
    const dn_chain_band *from = &w->bands[link], *to = &w->bands[link + 1];
    for (int32_t y = to->next; y < end;) {
        const int32_t whole = dn_least(from->rows - y % from->rows, to->rows - y % to->rows);
        const int32_t last = dn_least(end, y + whole);
        run_pointwise(w, link, y, last);
        y = last;
    }
}

static void run_depthwise_rows(const dn_chain_work *w, int32_t link, int32_t end)
{
    const dn_conv_call *call = w->chain->links[link].call;
    const dn_conv_geometry *g = &call->problem.geometry;
    const dn_chain_band *from = &w->bands[link], *to = &w->bands[link + 1];
    const float *taps[DN_CHAIN_TAPS];
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
static void make(dn_chain_work *w, int32_t i, int32_t end)
{
    dn_chain_band *to = &w->bands[i];
    if (to->next >= end) return;
    if (i == 0) {
        copy_rows(w, end);
    } else if (dn_chain_is_depthwise(&w->chain->links[i - 1])) {
        const dn_conv_geometry *g = &dn_chain_problem(w->chain, i - 1)->geometry;
        make(w, i - 1, dn_least(g->h, (end - 1) * g->stride_y - g->pad + dn_chain_reach(g)));
        run_depthwise_rows(w, i - 1, end);
    } else {
        make(w, i - 1, end);
        run_pointwise_rows(w, i - 1, end);
    }
    to->next = end;
}

/* ---- tasks ---- */

static void clear_columns(const dn_chain_band *b, int32_t channels)
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
static dn_chain_band whole(const dn_blocked *tensor, int32_t image)
{
    const int64_t plane = (int64_t)tensor->h * tensor->w;
    return (dn_chain_band){.data = tensor->data + image * tensor->image_stride,
                           .block = plane * DN_LANES,
                           .width = tensor->w,
                           .pitch = tensor->w,
                           .rows = tensor->h};
}

/* The first row that each band has to make for the output from `row` on. */
static void begin_at(dn_chain_work *w, int32_t row)
{
    for (int32_t i = w->chain->length; i >= 0; --i) {
        w->bands[i].next = row;
        if (i == 0 || !dn_chain_is_depthwise(&w->chain->links[i - 1])) continue;
        const dn_conv_geometry *g = &dn_chain_problem(w->chain, i - 1)->geometry;
        row = dn_least(g->h, dn_most(0, row * g->stride_y - g->pad));
    }
}

void DN_ISA_NAME(dn_chain_run)(const dn_chain *chain, int32_t task, void *scratch)
{
    const int32_t length = chain->length, image = task / chain->row_tasks;
    const dn_conv_call *first = chain->links[0].call, *last = chain->links[length - 1].call;
    const int32_t row = task % chain->row_tasks * chain->task_rows,
                  unit = DN_ISA_NAME(dn_chain_unit)(chain);
    const int32_t end = dn_least(last->out.h, row + chain->task_rows);
    dn_chain_work w = {.chain = chain, .image = image};
    DN_ISA_NAME(dn_chain_lay_out)(chain, scratch, &w);
    begin_at(&w, row);
    if (!dn_chain_is_depthwise(&chain->links[0])) {
        w.bands[0] = whole(&first->in, image);
        w.bands[0].next = first->in.h;
    }
    w.bands[length] = whole(&last->out, image);
    w.bands[length].next = row;
    for (int32_t i = 0; i < length; ++i) {
        const dn_conv_problem *problem = dn_chain_problem(chain, i);
        if (!dn_chain_is_depthwise(&chain->links[i])) continue;
        clear_columns(&w.bands[i], problem->groups);
        memset((float *)w.zeros, 0, (size_t)w.bands[i].pitch * DN_LANES * sizeof(float));
    }
    for (int32_t y = row; y < end; y += unit) make(&w, length, dn_least(end, y + unit));
}
