/* The register tile of the direct forms: the sums of 1 or 2 vectors of output channels times some
 * pixels of one output row.
 *
 * A list of steps says where the inputs lie: all rows and columns of taps, all channels. Each step
 * takes a few channels; for each it multiplies the input of every pixel, broadcast, by the weights.
 * In low precision what stands for a channel is a word of several (dot.h).
 * One loop over a list is all that the processor has to follow: loops over blocks, rows and columns
 * took a quarter of the time. Sums stay in registers over all steps of a call. Input channels come
 * in chunks, so that the chunk's weights stay in the first cache while the tiles of many pixels use
 * them; between chunks sums wait in memory. An output's products are added in the same order
 * whatever the tile is.
 */
#ifndef DN_BLOCKED_CONV_TILE_H
#define DN_BLOCKED_CONV_TILE_H

#include "blocked/tile_shapes.h"

enum { DN_TILE_CHANNELS = 4 /* of a step; see conv_first.c */ };

/* Distances in floats, from the tile's input and weights. */
typedef struct dn_conv_step {
    int64_t in, weights;
} dn_conv_step;

/* All distances in floats, or words. */
typedef struct dn_conv_tile {
    const float *in;           /* the tile's first pixel */
    int64_t in_pixel;          /* to its next pixel */
    const float *weights;      /* of a step: (channels, vectors, lanes) */
    const dn_conv_step *steps; /* (step_count) */
    int32_t step_count;
    const float *from;              /* sums so far: pixels of one vector together; NULL: 0 */
    float *to;                      /* where the sums go */
    const float *start;             /* (vectors, lanes): instead of 0; NULL: 0 */
    const float *scale;             /* (vectors, lanes): integer sums become floats, times this */
    int64_t from_vector, to_vector; /* to the sums of the second vector */
    const float *shift;             /* (vectors, lanes); NULL: the sums are stored as they are */
    float slope;                    /* else max(x, slope * x) of x = sum + shift */
} dn_conv_tile;

typedef void (*dn_conv_tile_run)(const dn_conv_tile *tile);

/* The kernels of so many vectors and pixels, for a stride along rows: of floats, of words of int8
 * and of bfloat16. */
dn_conv_tile_run DN_ISA_NAME(dn_conv_tile_f32)(int32_t vectors, int32_t pixels, int32_t stride);
dn_conv_tile_run DN_ISA_NAME(dn_conv_tile_int8)(int32_t vectors, int32_t pixels, int32_t stride);
dn_conv_tile_run DN_ISA_NAME(dn_conv_tile_bf16)(int32_t vectors, int32_t pixels, int32_t stride);

#endif
