/* What register tiles are made of: to be inlined with constant numbers of vectors and pixels, so
 * that the sums stay in registers.
 */
#ifndef DN_BLOCKED_CONV_TILE_STEPS_H
#define DN_BLOCKED_CONV_TILE_STEPS_H

#include "blocked/conv_tile.h"
#include "blocked/dot.h"

/* One input channel of all pixels, or one word of them. */
DN_INLINE void dn_tile_step(dn_conv_precision precision, int vectors, int pixels, const float *in,
                            int64_t in_pixel, const float *weights, dn_vec sums[][DN_TILE_PIXELS])
{
#pragma GCC unroll 2
    for (int round = 0; round < dn_dot_rounds(precision); ++round) {
        dn_vec w[DN_TILE_VECTORS];
        if (round > 0) __asm__("" : "+r"(in), "+r"(weights)); /* as in dn_tile_run */
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v)
            w[v] = dn_dot_part(precision, round, dn_vec_load(weights + v * DN_LANES));
#pragma GCC unroll 14
        for (int p = 0; p < pixels; ++p) {
            const dn_vec x = dn_dot_part(precision, round, dn_vec_set(in[p * in_pixel]));
#pragma GCC unroll 2
            for (int v = 0; v < vectors; ++v) dn_dot_into(precision, &sums[v][p], x, w[v]);
        }
    }
}

DN_INLINE void dn_tile_start(const dn_conv_tile *tile, int vectors, int pixels,
                             dn_vec sums[][DN_TILE_PIXELS])
{
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
        const dn_vec start =
            tile->start ? dn_vec_load(tile->start + v * DN_LANES) : dn_vec_set(0.0f);
#pragma GCC unroll 14
        for (int p = 0; p < pixels; ++p)
            sums[v][p] =
                tile->from ? dn_vec_load(tile->from + v * tile->from_vector + p * DN_LANES) : start;
    }
}

/* Integer sums become floats. */
DN_INLINE void dn_tile_scale(const dn_conv_tile *tile, int vectors, int pixels,
                             dn_vec sums[][DN_TILE_PIXELS])
{
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
        const dn_vec scale = dn_vec_load(tile->scale + v * DN_LANES);
#pragma GCC unroll 14
        for (int p = 0; p < pixels; ++p)
            sums[v][p] = __builtin_convertvector((dn_vec_ints)sums[v][p], dn_vec) * scale;
    }
}

DN_INLINE void dn_tile_finish(const dn_conv_tile *tile, int vectors, int pixels,
                              dn_vec sums[][DN_TILE_PIXELS])
{
    const dn_vec slope = dn_vec_set(tile->slope);
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
        const dn_vec shift = dn_vec_load(tile->shift + v * DN_LANES);
#pragma GCC unroll 14
        for (int p = 0; p < pixels; ++p) {
            const dn_vec x = sums[v][p] + shift;
            dn_vec_store(tile->to + v * tile->to_vector + p * DN_LANES, dn_vec_max(x, slope * x));
        }
    }
}

DN_INLINE void dn_tile_keep(const dn_conv_tile *tile, int vectors, int pixels,
                            dn_vec sums[][DN_TILE_PIXELS])
{
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v)
#pragma GCC unroll 14
        for (int p = 0; p < pixels; ++p)
            dn_vec_store(tile->to + v * tile->to_vector + p * DN_LANES, sums[v][p]);
}

/* The whole tile; a step has so many channels, `in_pixel` is from one pixel to the next. */
DN_INLINE void dn_tile_run(dn_conv_precision precision, const dn_conv_tile *tile, int vectors,
                           int pixels, int channels, int64_t in_pixel)
{
    dn_vec sums[DN_TILE_VECTORS][DN_TILE_PIXELS];
    dn_tile_start(tile, vectors, pixels, sums);
    const dn_conv_step *end = tile->steps + tile->step_count;
    for (const dn_conv_step *step = tile->steps; step < end; ++step) {
        const float *in = tile->in + step->in, *weights = tile->weights + step->weights;
        /* the compiler must not keep values for the next round: registers are full */
        __asm__("" : "+r"(in));
#pragma GCC unroll 4
        for (int c = 0; c < channels; ++c) {
            const float *x = in + c;
            /* nor where taps of a row read values again that others have read */
            if (in_pixel < channels) __asm__("" : "+r"(x));
            dn_tile_step(precision, vectors, pixels, x, in_pixel, weights + c * vectors * DN_LANES,
                         sums);
        }
    }
    if (precision == DN_CONV_INT8 && tile->scale) dn_tile_scale(tile, vectors, pixels, sums);
    if (tile->shift)
        dn_tile_finish(tile, vectors, pixels, sums);
    else
        dn_tile_keep(tile, vectors, pixels, sums);
}

#endif
