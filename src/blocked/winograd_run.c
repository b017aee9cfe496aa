/* Runs Winograd's forms: transforms tiles, multiplies, transforms back. See winograd.h. */
#include "blocked/epilogue.h"
#include "blocked/winograd.h"

#include <string.h>

enum { CHANNELS_AT_ONCE = 256 }; /* of a product: their U stays in the first cache */

/* Floats from one position of V to the next: whole lines, an odd number of them, so that the
 * positions of a tile do not fall into the same set of the cache. */
static int64_t position_stride(const dn_winograd_plan *plan, int32_t tiles)
{
    return (dn_up_to((int64_t)tiles * plan->blocks * DN_LANES, 16) | 1) * 16;
}

/* Where V of a group begins, in floats: room for each position's lines above. */
static int64_t group_begin(const dn_winograd_plan *plan, int32_t group)
{
    const int64_t tiles = dn_share_begin(plan->tiles, plan->groups, group);
    return plan->positions * (tiles * plan->blocks * DN_LANES + 32 * (int64_t)group);
}

static int32_t product_stride(const dn_winograd_plan *plan)
{
    return (plan->positions + 1) * DN_PANEL;
}

/* A tile's place. */
typedef struct tile_place {
    int32_t image, y, x;
} tile_place;

static tile_place place_of(const dn_winograd_plan *plan, int32_t tile)
{
    const int32_t x = tile % plan->tiles_x, row = tile / plan->tiles_x;
    return (tile_place){row / plan->tiles_y, row % plan->tiles_y, x};
}

static void advance(const dn_winograd_plan *plan, tile_place *place)
{
    if (++place->x < plan->tiles_x) return;
    place->x = 0;
    if (++place->y < plan->tiles_y) return;
    place->y = 0;
    ++place->image;
}

/* One tile that reaches over the border: through a copy with zeros around. */
static void border_tile(const dn_winograd_kind *kind, const dn_blocked *in, const float *plane,
                        int32_t y, int32_t x, float *v, int64_t stride)
{
    float copy[DN_MOST_ALPHA * DN_MOST_ALPHA * DN_LANES];
    const int32_t alpha = kind->m + 2;
    for (int32_t i = 0; i < alpha; ++i) {
        float *to = copy + i * alpha * DN_LANES;
        memset(to, 0, (size_t)(alpha * DN_LANES) * sizeof *to);
        if (y + i < 0 || y + i >= in->h) continue;
        const int32_t first = x < 0 ? -x : 0, last = dn_at_most(in->w - x, alpha);
        if (first < last)
            memcpy(to + first * DN_LANES, plane + ((int64_t)(y + i) * in->w + x + first) * DN_LANES,
                   (size_t)((last - first) * DN_LANES) * sizeof *to);
    }
    kind->input(copy, alpha * DN_LANES, v, stride);
}

/* V of channel blocks first..last-1 of the group's tiles. */
static void transform_group(const dn_winograd_kind *kind, const dn_conv_call *call,
                            const dn_winograd_plan *plan, int32_t group, int32_t first,
                            int32_t last, float *v)
{
    const dn_blocked *in = &call->in;
    const int32_t pad = call->problem.geometry.pad, alpha = plan->alpha;
    const int32_t begin = dn_share_begin(plan->tiles, plan->groups, group);
    const int32_t tiles = dn_share(plan->tiles, plan->groups, group);
    const int32_t rows_count = dn_up_to(tiles, DN_ROWS);
    const int64_t stride = position_stride(plan, tiles), plane = (int64_t)in->h * in->w * DN_LANES;
    for (int32_t block = first; block < last; ++block) {
        tile_place at = place_of(plan, begin);
        float *to = v;
        for (int32_t i = 0; i < rows_count; ++i) {
            const int32_t rows = dn_share(tiles, rows_count, i);
            for (int32_t r = 0; r < rows; ++r, advance(plan, &at)) {
                const float *from = in->data + at.image * in->image_stride + block * plane;
                const int32_t y = at.y * kind->m - pad, x = at.x * kind->m - pad;
                float *tile = to + (block * rows + r) * DN_LANES;
                if (y >= 0 && x >= 0 && y + alpha <= in->h && x + alpha <= in->w)
                    kind->input(from + ((int64_t)y * in->w + x) * DN_LANES, in->w * DN_LANES, tile,
                                stride);
                else
                    border_tile(kind, in, from, y, x, tile, stride);
            }
            to += rows * plan->blocks * DN_LANES;
        }
    }
}

/* All positions' products of the group's tiles and `count` panels from `panel` on. */
static void multiply_group(const dn_conv_call *call, const dn_winograd_plan *plan, int32_t tiles,
                           int32_t panel, int32_t count, const float *v, float *products)
{
    const int64_t chunk = (int64_t)plan->channels * DN_PANEL, whole = plan->positions * chunk;
    const int64_t stride = position_stride(plan, tiles);
    const float *u = (const float *)call->packed + panel * whole;
    dn_winograd_product product = {
        .tile_stride_v = plan->blocks * DN_LANES,
        .tile_stride_product = product_stride(plan),
        .tiles = tiles,
    };
    for (int32_t position = 0; position < plan->positions; ++position, u += chunk) {
        product.v = v + position * stride;
        for (int32_t c = 0; c < plan->channels; c += CHANNELS_AT_ONCE) {
            product.first_channel = c;
            product.channels = dn_at_most(plan->channels - c, CHANNELS_AT_ONCE);
            product.adds = c > 0;
            const int32_t end = c + product.channels;
            const bool last = position + 1 == plan->positions && end == plan->channels;
            for (int32_t i = 0; i < count; ++i) {
                product.u = u + i * whole + c * DN_PANEL;
                product.product =
                    products + (int64_t)i * tiles * product_stride(plan) + position * DN_PANEL;
                product.next = i + 1 < count ? product.u + whole
                               : last        ? product.u + product.channels * DN_PANEL
                                             : u + end * DN_PANEL;
                DN_ISA_NAME(dn_winograd_multiply)(&product);
            }
        }
    }
}

/* One panel's products back to outputs. */
static void store_panel(const dn_winograd_kind *kind, const dn_conv_call *call,
                        const dn_winograd_plan *plan, int32_t group, int32_t panel,
                        const float *product)
{
    const dn_blocked *out = &call->out, *add = &call->add;
    const int64_t plane = (int64_t)out->h * out->w * DN_LANES;
    const int32_t blocks = dn_blocks(call->problem.filters, DN_LANES);
    const int32_t tiles = dn_share(plan->tiles, plan->groups, group);
    tile_place at = place_of(plan, dn_share_begin(plan->tiles, plan->groups, group));
    dn_winograd_target target = {
        .row_stride = out->w * DN_LANES,
        .activation = call->problem.activation,
        .after_add = call->problem.after_add,
    };
    const bool first = dn_activation_slope(target.activation, &target.slope);
    target.bends = dn_activation_slope(target.after_add, &target.slope_after) && first;
    for (int32_t t = 0; t < tiles; ++t, advance(plan, &at), product += product_stride(plan)) {
        const int32_t y = at.y * kind->m, x = at.x * kind->m;
        target.rows = dn_at_most(out->h - y, kind->m);
        target.columns = dn_at_most(out->w - x, kind->m);
        for (int32_t i = 0; i < DN_PANEL_VECTORS; ++i) {
            const int32_t block = panel * DN_PANEL_VECTORS + i;
            if (block >= blocks) break;
            const int64_t place = block * plane + ((int64_t)y * out->w + x) * DN_LANES;
            target.out = out->data + at.image * out->image_stride + place;
            target.add = add->data ? add->data + at.image * add->image_stride + place : NULL;
            target.shift = call->shift + block * DN_LANES;
            kind->output(product + i * DN_LANES, &target);
        }
    }
}

static void run_panels(const dn_winograd_kind *kind, const dn_conv_call *call,
                       const dn_winograd_plan *plan, int32_t group, int32_t panel, const float *v,
                       float *products)
{
    const int32_t tiles = dn_share(plan->tiles, plan->groups, group);
    const int32_t count = dn_at_most(plan->panels - panel, plan->task_panels);
    multiply_group(call, plan, tiles, panel, count, v, products);
    for (int32_t i = 0; i < count; ++i)
        store_panel(kind, call, plan, group, panel + i,
                    products + (int64_t)i * tiles * product_stride(plan));
}

/* Channel blocks of a task of phase 0: some microseconds' worth. */
static int32_t task_blocks(const dn_winograd_plan *plan)
{
    return 1 + 300 / plan->group_tiles;
}

int64_t DN_ISA_NAME(dn_winograd_shared_bytes)(const dn_winograd_plan *plan)
{
    return plan->fused ? 0 : 4 * group_begin(plan, plan->groups);
}

/* Never less for more images: of the largest group that there may be. */
int64_t DN_ISA_NAME(dn_winograd_scratch_bytes)(const dn_winograd_plan *plan)
{
    int64_t floats = (int64_t)plan->most_tiles * product_stride(plan);
    if (plan->fused) floats += plan->positions * position_stride(plan, plan->most_tiles);
    return 4 * floats;
}

int32_t DN_ISA_NAME(dn_winograd_tasks)(const dn_winograd_plan *plan, int32_t phase)
{
    if (plan->fused) return phase == 0 ? 0 : plan->groups;
    const int32_t parts = phase == 0 ? dn_up_to(plan->blocks, task_blocks(plan))
                                     : dn_up_to(plan->panels, plan->task_panels);
    return plan->groups * parts;
}

void DN_ISA_NAME(dn_winograd_run)(const dn_winograd_kind *kind, const dn_conv_call *call,
                                  int32_t phase, int32_t task, void *scratch)
{
    const dn_winograd_plan plan = DN_ISA_NAME(dn_winograd_plan_of)(kind, &call->problem);
    if (plan.fused) {
        float *v = scratch;
        float *products = v + plan.positions * position_stride(&plan, plan.group_tiles);
        transform_group(kind, call, &plan, task, 0, plan.blocks, v);
        for (int32_t panel = 0; panel < plan.panels; ++panel)
            run_panels(kind, call, &plan, task, panel, v, products);
        return;
    }
    /* Groups innermost: threads that work side by side read the same U. */
    const int32_t group = task % plan.groups, part = task / plan.groups;
    float *v = (float *)call->shared + group_begin(&plan, group);
    if (phase == 0) {
        const int32_t first = part * task_blocks(&plan);
        const int32_t last = dn_at_most(first + task_blocks(&plan), plan.blocks);
        transform_group(kind, call, &plan, group, first, last, v);
    } else {
        run_panels(kind, call, &plan, group, part * plan.task_panels, v, scratch);
    }
}
