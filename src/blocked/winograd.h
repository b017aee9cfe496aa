/* Winograd's minimal filtering F(m x m, 3 x 3): what its files share.
 *
 * Method (Winograd 1980; Lavin and Gray 2016): out = A' [(G w G') * (B' d B)] A on tiles of m x m
 * outputs, alpha = m + 2 inputs wide. The product of one place of the alpha x alpha tile, over all
 * tiles and channels, is a matrix product; there are alpha^2 of them, "positions".
 *
 * The interpolation points are infinity, pairs +-p and, for even m, 0. Then even and odd parts are
 * shared by the two points of a pair, and one code serves every m. With FMA no point is cheaper
 * than another, so the points are those of the smallest error in float32.
 *
 * Memory. Transformed input V: (tile group, position, register tile, channel block, tile of the
 * register tile, lanes): the product's broadcasts lie one behind the other, and the transform
 * stores whole vectors. Transformed weights U: (panel, position, channel, DN_PANEL filters), so a
 * task reads its panel once, in order. Products M: (panel, tile, position, DN_PANEL).
 */
#ifndef DN_BLOCKED_WINOGRAD_H
#define DN_BLOCKED_WINOGRAD_H

#include "blocked/conv_form.h"
#include "blocked/vector.h"

/* A register tile of the product: DN_ROWS tiles x DN_PANEL filters. */
enum {
    DN_PANEL_VECTORS = DN_LANES == 4 && DN_REGISTERS == 32 ? 4 : 2,
    DN_PANEL = DN_PANEL_VECTORS * DN_LANES,
    DN_ROWS = DN_REGISTERS == 32 && DN_PANEL_VECTORS == 2 ? 12 : 6,
    DN_MOST_ALPHA = 9,
    DN_CHANNEL_STEP = 4, /* channels of U are padded to these with zeros */
};

/* Where the outputs of one tile go: rows x columns of them, from `out` on. */
typedef struct dn_winograd_target {
    float *out;
    const float *add; /* NULL: none */
    const float *shift;
    int64_t row_stride; /* floats, of out and add */
    int32_t rows, columns;
    dn_activation activation, after_add;
    bool bends; /* both are max(x, slope x) */
    float slope, slope_after;
} dn_winograd_target;

/* The transforms of one m. */
typedef struct dn_winograd_kind {
    int32_t m;
    int32_t pairs, zero; /* points +-pair[0] ...; 1 where 0 is one */
    const float *pair;
    /* One tile of one channel block: `in` is its first input, `row_stride` floats a row. */
    void (*input)(const float *in, int64_t row_stride, float *v, int64_t position_stride);
    /* One tile of one block of filters: position i at product + i * DN_PANEL. */
    void (*output)(const float *product, const dn_winograd_target *target);
} dn_winograd_kind;

/* How a product of one position, or some channels of it, is computed: see winograd_gemm.c. */
typedef struct dn_winograd_product {
    const float *v;                             /* of the position and tile group */
    const float *u;                             /* of the first channel */
    float *product;                             /* of the first tile */
    int64_t tile_stride_v, tile_stride_product; /* floats */
    int32_t tiles;
    int32_t first_channel; /* of a block */
    int32_t channels;      /* a multiple of DN_CHANNEL_STEP */
    bool adds;             /* to what is there */
    const float *next;     /* U that will be read after this */
} dn_winograd_product;

/* How a convolution is cut up. */
typedef struct dn_winograd_plan {
    int32_t alpha, positions;        /* alpha^2 */
    int32_t tiles_y, tiles_x, tiles; /* of one image; of all */
    int32_t blocks, channels;        /* of the input; channels padded to DN_CHANNEL_STEP */
    int32_t panels;
    int32_t groups, group_tiles; /* groups of tiles; tiles of the largest */
    int32_t most_tiles;          /* that a task may hold, times its panels */
    int32_t task_panels;         /* of a task that is not fused */
    bool fused;
} dn_winograd_plan;

#define DN_WINOGRAD_KIND(m) DN_ISA_NAME(dn_winograd_kind_##m)
extern const dn_winograd_kind DN_WINOGRAD_KIND(2), DN_WINOGRAD_KIND(3), DN_WINOGRAD_KIND(4),
    DN_WINOGRAD_KIND(5), DN_WINOGRAD_KIND(6), DN_WINOGRAD_KIND(7);

dn_winograd_plan DN_ISA_NAME(dn_winograd_plan_of)(const dn_winograd_kind *kind,
                                                  const dn_conv_problem *problem);
void DN_ISA_NAME(dn_winograd_pack)(const dn_winograd_kind *kind, const dn_conv_problem *problem,
                                   const float *weights, const float *factor, void *packed,
                                   int32_t panel);
void DN_ISA_NAME(dn_winograd_multiply)(const dn_winograd_product *args);
int64_t DN_ISA_NAME(dn_winograd_shared_bytes)(const dn_winograd_plan *plan);
int64_t DN_ISA_NAME(dn_winograd_scratch_bytes)(const dn_winograd_plan *plan);
int32_t DN_ISA_NAME(dn_winograd_tasks)(const dn_winograd_plan *plan, int32_t phase);
void DN_ISA_NAME(dn_winograd_run)(const dn_winograd_kind *kind, const dn_conv_call *call,
                                  int32_t phase, int32_t task, void *scratch);

static inline int32_t dn_up_to(int64_t value, int32_t unit)
{
    return (int32_t)((value + unit - 1) / unit);
}

static inline int32_t dn_at_most(int32_t value, int32_t limit)
{
    return value < limit ? value : limit;
}

/* Tiles of register tile `index`, of `count` that share `tiles` evenly; and its first tile. */
static inline int32_t dn_share(int32_t tiles, int32_t count, int32_t index)
{
    return tiles / count + (index < tiles % count);
}

static inline int32_t dn_share_begin(int32_t tiles, int32_t count, int32_t index)
{
    const int32_t more = tiles % count;
    return index * (tiles / count) + (index < more ? index : more);
}

#endif
