/* See pointwise.h.
 *
 * Each step of a tile broadcasts one input channel of every pixel and multiplies it by that
 * channel's weights. Sums start from the shift, and from what is added where no activation comes
 * between; linear, leaky and relu end in the tile. Other activations and planar outputs take a
 * second look at each row.
 */
#include "blocked/pointwise.h"

#include "blocked/epilogue.h"
#include "blocked/tile_shapes.h"
#include "blocked/transpose.h"

#include <stddef.h>

/* Input channels that are taken at a time; packed weights are padded to these. */
enum { STEP = 4, LINE_FLOATS = 16 };

typedef struct tile {
    const float *in;
    int64_t in_block;
    const float *weights; /* (channels, vectors, lanes) */
    int32_t channels;
    const float *shift; /* (vectors, lanes) */
    const float *add;   /* NULL: none */
    int64_t add_block;
    float *out;
    int64_t out_block;
    float slope;
    bool asks; /* for the next tile's input: memory may be far, and there are more blocks than
                  streams that a core foresees */
} tile;

DN_INLINE void start(const tile *t, int vectors, int pixels, dn_vec sums[][DN_TILE_PIXELS])
{
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
        const dn_vec shift = dn_vec_load(t->shift + v * DN_LANES);
#pragma GCC unroll 14
        for (int p = 0; p < pixels; ++p) sums[v][p] = shift;
    }
    if (!t->add) return;
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v)
#pragma GCC unroll 14
        for (int p = 0; p < pixels; ++p)
            sums[v][p] = sums[v][p] + dn_vec_load(t->add + v * t->add_block + p * DN_LANES);
}

DN_INLINE void step(const float *in, const float *weights, int vectors, int pixels,
                    dn_vec sums[][DN_TILE_PIXELS])
{
    dn_vec w[2];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) w[v] = dn_vec_load(weights + v * DN_LANES);
#pragma GCC unroll 14
    for (int p = 0; p < pixels; ++p) {
        const dn_vec x = dn_vec_set(in[p * DN_LANES]);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) dn_fma_into(&sums[v][p], x, w[v]);
    }
}

/* Pixels of one block. */
DN_INLINE void ask_ahead(const float *in, int pixels)
{
#pragma GCC unroll 14
    for (int i = 0; i < pixels * DN_LANES; i += LINE_FLOATS) __builtin_prefetch(in + i, 0, 3);
}

DN_INLINE void run(const tile *t, int vectors, int pixels)
{
    dn_vec sums[DN_TILE_VECTORS][DN_TILE_PIXELS];
    start(t, vectors, pixels, sums);
    const float *block = t->in, *weights = t->weights;
    for (int32_t rest = t->channels; rest > 0; rest -= DN_LANES, block += t->in_block) {
        const float *in = block;
        if (t->asks) ask_ahead(block + pixels * DN_LANES, pixels);
        for (int32_t c = 0; c < DN_LANES && c < rest; c += STEP) {
            /* the compiler must not keep values for the next round: registers are full */
            __asm__("" : "+r"(in));
#pragma GCC unroll 4
            for (int i = 0; i < STEP; ++i)
                step(in + i, weights + i * vectors * DN_LANES, vectors, pixels, sums);
            in += STEP;
            weights += STEP * vectors * DN_LANES;
        }
    }
    const dn_vec slope = dn_vec_set(t->slope);
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v)
#pragma GCC unroll 14
        for (int p = 0; p < pixels; ++p)
            dn_vec_store(t->out + v * t->out_block + p * DN_LANES,
                         dn_vec_max(sums[v][p], slope * sums[v][p]));
}

#define KERNEL(vectors, pixels)                                                                    \
    static void tile_##vectors##_##pixels(const tile *t)                                           \
    {                                                                                              \
        run(t, vectors, pixels);                                                                   \
    }
#define NAME(vectors, pixels) tile_##vectors##_##pixels,

DN_TILES_OF_1(KERNEL)
DN_TILES_OF_2(KERNEL)

static void (*const tiles_of_1[DN_TILE_PIXELS_1])(const tile *) = {DN_TILES_OF_1(NAME)};
static void (*const tiles_of_2[DN_TILE_PIXELS_2])(const tile *) = {DN_TILES_OF_2(NAME)};

static void run_row(tile t, int32_t vectors, int32_t width)
{
    const int32_t count =
        dn_tiles_of_row(width, vectors == 2 ? DN_TILE_PIXELS_2 : DN_TILE_PIXELS_1);
    for (int32_t i = 0; i < count; ++i) {
        const int32_t p = dn_tile_width(width, count, i);
        (vectors == 2 ? tiles_of_2[p - 1] : tiles_of_1[p - 1])(&t);
        t.in += p * DN_LANES;
        t.out += p * DN_LANES;
        if (t.add) t.add += p * DN_LANES;
    }
}

/* What the tiles cannot do: other activations, planar outputs. */
static void finish(const dn_conv_call *call, const float *shift, float *sums, const float *add,
                   int32_t width, int32_t channels, int64_t block, float *out)
{
    const bool planar = call->problem.planar_out;
    dn_epilogue_row(&call->problem, sums, width, shift, add, planar ? sums : out);
    if (planar) dn_block_to_planes(sums, width, channels, block / DN_LANES, out);
}

/* All rows of the pair that begins with output vector `first`. */
static void run_pair(const dn_conv_call *call, const dn_pointwise_rows *rows, int32_t first,
                     int32_t vectors, bool asks, float *sums)
{
    static const float zeros[2 * DN_LANES];
    const dn_conv_problem *problem = &call->problem;
    const int32_t channels = problem->geometry.c, c = first * DN_LANES;
    const float *shift = call->shift + c;
    tile t = {.in_block = rows->in_block,
              .channels = (channels + STEP - 1) / STEP * STEP,
              .add_block = rows->add_block,
              .slope = 1.0f,
              .asks = asks};
    t.weights = (const float *)call->packed + (int64_t)c * t.channels;
    const bool ends =
        !problem->planar_out &&
        dn_activation_slope(rows->add ? problem->after_add : problem->activation, &t.slope) &&
        (!rows->add || problem->activation == DN_ACTIVATION_linear);
    if (!ends) t.slope = 1.0f;
    t.shift = ends ? shift : zeros;
    t.out_block = ends ? rows->out_block : (int64_t)rows->width * DN_LANES;
    for (int32_t y = 0; y < rows->rows; ++y) {
        const float *add =
            rows->add ? rows->add + first * rows->add_block + y * rows->add_row : NULL;
        float *out = rows->out + first * rows->out_block + y * rows->out_row;
        t.in = rows->in + y * rows->in_row;
        t.out = ends ? out : sums;
        t.add = ends ? add : NULL;
        run_row(t, vectors, rows->width);
        for (int32_t v = 0; !ends && v < vectors; ++v) {
            const int32_t rest = problem->filters - c - v * DN_LANES;
            finish(call, shift + v * DN_LANES, sums + v * t.out_block,
                   add ? add + v * rows->add_block : NULL, rows->width,
                   rest < DN_LANES ? rest : DN_LANES, rows->out_block, out + v * rows->out_block);
        }
    }
}

void DN_ISA_NAME(dn_pointwise_run)(const dn_conv_call *call, const dn_pointwise_rows *rows,
                                   int32_t first_pair, int32_t last_pair, float *sums)
{
    const int32_t vectors = dn_blocks(call->problem.filters, DN_LANES);
    for (int32_t v = 2 * first_pair; v < vectors && v < 2 * last_pair; v += 2)
        run_pair(call, rows, v, vectors - v < 2 ? 1 : 2, v == 2 * first_pair, sums);
}

int64_t DN_ISA_NAME(dn_pointwise_sums)(int32_t width)
{
    return 2LL * width * DN_LANES;
}
