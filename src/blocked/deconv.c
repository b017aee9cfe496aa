/* The deconvolution whose size is its stride: every output comes from one input pixel, so it is one
 * matrix product, a 1x1 convolution to size * size times the filters ("places"), whose outputs are
 * spread over the pixels that they belong to.
 *
 * A task does some places for a piece of an image: it brings the piece's pixels into the order in
 * which the product of Winograd's forms (winograd_gemm.c) reads them, multiplies them with one
 * panel of filters after the other, and stores each product where it belongs. An output's products
 * are added channel by channel, however tasks are cut.
 */
#include "blocked/deconv.h"
#include "blocked/epilogue.h"
#include "blocked/throughput.h"
#include "blocked/winograd.h"

#include <stddef.h>

enum {
    CHANNELS_AT_ONCE = 256, /* of a product: their weights stay in the first cache */
    PIECE_PIXELS = 120,     /* at most: with 256 channels a quarter of a second cache */
    ENOUGH_TASKS = 16
};

typedef struct deconv_cut {
    int32_t places, panels;   /* panels: of one place */
    int32_t blocks, channels; /* of the input; channels padded to DN_CHANNEL_STEP */
    int32_t pieces, pixels;   /* pieces of an image; pixels of a piece, at most */
    int32_t parts;            /* of the places: a task each */
} deconv_cut;

static deconv_cut cut_of(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    const int32_t plane = g->h * g->w;
    deconv_cut cut = {.places = g->size * g->size,
                      .panels = dn_up_to(problem->filters, DN_PANEL),
                      .blocks = dn_blocks(g->c, DN_LANES),
                      .channels = dn_up_to(g->c, DN_CHANNEL_STEP) * DN_CHANNEL_STEP,
                      .pieces = dn_up_to(plane, PIECE_PIXELS),
                      .parts = 1};
    cut.pixels = dn_up_to(plane, cut.pieces);
    while (cut.parts < cut.places &&
           (cut.places % cut.parts != 0 || problem->images * cut.pieces * cut.parts < ENOUGH_TASKS))
        ++cut.parts;
    return cut;
}

static bool fits(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    return g->size == g->stride_x && g->size == g->stride_y && g->pad == 0 && g->dilation == 1 &&
           g->out_h == g->h * g->size && g->out_w == g->w * g->size && problem->groups == 1 &&
           !problem->planar_in && !problem->planar_out && !problem->adds;
}

/* By the vectors multiplied: two a cycle with eight lanes or fewer, one with sixteen. */
static double cost(const dn_conv_problem *problem, int32_t threads)
{
    const dn_conv_geometry *g = &problem->geometry;
    const deconv_cut cut = cut_of(problem);
    const double products = (double)cut.channels * cut.panels * DN_PANEL_VECTORS * cut.places *
                            g->h * g->w * problem->images;
    return products / (DN_PRODUCTS_A_CYCLE * 0.85) / 3500 / threads + 1.0;
}

static int64_t panel_floats(const deconv_cut *cut)
{
    return (int64_t)cut->channels * DN_PANEL;
}

static int64_t packed_bytes(const dn_conv_problem *problem)
{
    const deconv_cut cut = cut_of(problem);
    return 4 * cut.places * cut.panels * panel_floats(&cut);
}

static int32_t pack_tasks(const dn_conv_problem *problem)
{
    const deconv_cut cut = cut_of(problem);
    return cut.places * cut.panels;
}

/* From (c, filters, size, size) to (place, panel, channels, DN_PANEL). */
static void pack(const dn_conv_problem *problem, const float *weights, const float *factor,
                 void *packed, int32_t task)
{
    const deconv_cut cut = cut_of(problem);
    const int32_t place = task / cut.panels, first = task % cut.panels * DN_PANEL;
    const int32_t filters = problem->filters;
    float *to = (float *)packed + task * panel_floats(&cut);
    for (int32_t c = 0; c < cut.channels; ++c)
        for (int32_t f = first; f < first + DN_PANEL; ++f) {
            const bool counts = c < problem->geometry.c && f < filters;
            const float scale = factor && counts ? factor[f] : 1.0f;
            *to++ = counts ? scale * weights[((int64_t)c * filters + f) * cut.places + place] : 0;
        }
}

static int64_t shared_bytes(const dn_conv_problem *problem)
{
    (void)problem;
    return 0;
}

static int64_t scratch_bytes(const dn_conv_problem *problem)
{
    const deconv_cut cut = cut_of(problem);
    return 4LL * cut.pixels * (cut.blocks * DN_LANES + DN_PANEL);
}

static int32_t tasks(const dn_conv_call *call, int32_t phase, int32_t threads)
{
    (void)phase, (void)threads;
    const deconv_cut cut = cut_of(&call->problem);
    return cut.parts * call->problem.images * cut.pieces;
}

/* What a task works on. */
typedef struct deconv_work {
    const dn_conv_call *call;
    const deconv_cut *cut;
    int32_t image, first, count; /* pixels first..first+count-1 of the input */
    float *v;                    /* (register tile, blocks, its pixels, lanes) */
    float *products;             /* (count, DN_PANEL) */
} deconv_work;

static void arrange(const deconv_work *w)
{
    const dn_blocked *in = &w->call->in;
    const float *from = in->data + w->image * in->image_stride + (int64_t)w->first * DN_LANES;
    const int64_t plane = (int64_t)in->h * in->w * DN_LANES;
    const int32_t count = dn_up_to(w->count, DN_ROWS);
    float *to = w->v;
    for (int32_t i = 0; i < count; ++i) {
        const int32_t rows = dn_share(w->count, count, i);
        for (int32_t b = 0; b < w->cut->blocks; ++b)
            for (int32_t r = 0; r < rows; ++r, to += DN_LANES)
                dn_vec_store(to, dn_vec_load(from + b * plane + r * DN_LANES));
        from += rows * DN_LANES;
    }
}

static void multiply(const deconv_work *w, const float *u)
{
    const int32_t channels = w->cut->channels;
    dn_winograd_product product = {.v = w->v,
                                   .product = w->products,
                                   .tile_stride_v = w->cut->blocks * DN_LANES,
                                   .tile_stride_product = DN_PANEL,
                                   .tiles = w->count};
    for (int32_t c = 0; c < channels; c += CHANNELS_AT_ONCE) {
        product.u = u + (int64_t)c * DN_PANEL;
        product.first_channel = c;
        product.channels = dn_at_most(channels - c, CHANNELS_AT_ONCE);
        product.adds = c > 0;
        product.next = product.u + (int64_t)product.channels * DN_PANEL;
        DN_ISA_NAME(dn_winograd_multiply)(&product);
    }
}

/* One block of the products to every size-th pixel of every size-th row. */
static void spread(const deconv_work *w, int32_t place, const float *from, int32_t block)
{
    const dn_conv_problem *problem = &w->call->problem;
    const dn_conv_geometry *g = &problem->geometry;
    const dn_blocked *out = &w->call->out;
    const int32_t down = place / g->size, across = place % g->size;
    const int32_t end = w->first + w->count;
    const dn_vec shift = dn_vec_load(w->call->shift + block * DN_LANES);
    float slope_value;
    const bool bends = dn_activation_slope(problem->activation, &slope_value);
    const dn_vec slope = dn_vec_set(bends ? slope_value : 1.0f);
    float *plane =
        out->data + w->image * out->image_stride + (int64_t)block * g->out_h * g->out_w * DN_LANES;
    for (int32_t i = w->first; i < end;) {
        const int32_t y = i / g->w, row_end = dn_at_most((y + 1) * g->w, end);
        const int64_t row = (int64_t)(y * g->size + down) * g->out_w + across;
        float *to = plane + (row + (int64_t)(i - y * g->w) * g->size) * DN_LANES;
        for (; i < row_end; ++i, from += DN_PANEL, to += g->size * DN_LANES) {
            const dn_vec x = dn_vec_load(from) + shift;
            dn_vec_store(to, bends ? dn_vec_max(x, slope * x)
                                   : dn_vec_activate(problem->activation, x));
        }
    }
}

static void run(const dn_conv_call *call, int32_t phase, int32_t task, void *scratch)
{
    (void)phase;
    const deconv_cut cut = cut_of(&call->problem);
    const dn_conv_geometry *g = &call->problem.geometry;
    const int32_t blocks = dn_blocks(call->problem.filters, DN_LANES);
    const int32_t piece = task % cut.pieces, rest = task / cut.pieces;
    const int32_t part = rest / call->problem.images, of_part = cut.places / cut.parts;
    deconv_work w = {.call = call,
                     .cut = &cut,
                     .image = rest % call->problem.images,
                     .first = piece * cut.pixels,
                     .v = scratch};
    w.count = dn_at_most(g->h * g->w - w.first, cut.pixels);
    w.products = w.v + (int64_t)cut.pixels * cut.blocks * DN_LANES;
    if (w.count <= 0) return;
    arrange(&w);
    for (int32_t place = part * of_part; place < (part + 1) * of_part; ++place)
        for (int32_t panel = 0; panel < cut.panels; ++panel) {
            const int64_t at = (int64_t)place * cut.panels + panel;
            multiply(&w, (const float *)call->packed + at * panel_floats(&cut));
            for (int32_t i = 0; i < DN_PANEL_VECTORS; ++i)
                if (panel * DN_PANEL_VECTORS + i < blocks)
                    spread(&w, place, w.products + i * DN_LANES, panel * DN_PANEL_VECTORS + i);
        }
}

const dn_conv_form DN_ISA_NAME(dn_deconv) = {
    .name = "deconv",
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
