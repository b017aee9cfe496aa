/* The register tile of the direct forms: the sums of 1 or 2 vectors of output channels times some
 * pixels of one output row.
 *
 * Each step broadcasts one input channel of every pixel and multiplies it by the weights of that
 * channel and tap; sums stay in registers over all taps and channels of a call. Input channels
 * come in chunks, so that the chunk's weights stay in the first cache while the tiles of many
 * pixels use them; between chunks sums wait in memory. An output's products are added in the same
 * order whatever the tile is.
 */
#ifndef DN_BLOCKED_CONV_TILE_H
#define DN_BLOCKED_CONV_TILE_H

#include "blocked/vector.h"

enum {
    DN_TILE_VECTORS = 2,
    /* pixels at most with two vectors and with one: all sums, the weights and a broadcast in
     * registers */
    DN_TILE_PIXELS_2 = DN_REGISTERS == 32 ? 14 : 6,
    DN_TILE_PIXELS_1 = DN_REGISTERS == 32 ? 14 : 12,
    DN_TILE_UNROLL = 4 /* channels of a block that are taken at a time */
};

/* All distances in floats. */
typedef struct dn_conv_tile {
    const float *in;                  /* first pixel, first block, first tap that counts */
    int64_t in_pixel;                 /* to the next pixel of the tile: stride * lanes */
    int64_t in_block, in_row, in_tap; /* to the next channel block, row and column of taps */
    const float *weights;             /* (blocks, size, size, lanes, vectors, lanes) */
    int64_t weights_block, weights_row;
    int32_t blocks, rows, taps;     /* input channel blocks; rows and columns of taps */
    int32_t last_channels;          /* of the last block: a multiple of DN_TILE_UNROLL */
    const float *from;              /* sums so far: pixels of one vector together; NULL: 0 */
    float *to;                      /* where the sums go */
    int64_t from_vector, to_vector; /* to the sums of the second vector */
    const float *shift;             /* (vectors, lanes); NULL: the sums are stored as they are */
    float slope;                    /* else max(x, slope * x) of x = sum + shift */
} dn_conv_tile;

typedef void (*dn_conv_tile_run)(const dn_conv_tile *tile);

/* The kernel of so many vectors and pixels, for a stride along rows. */
dn_conv_tile_run DN_ISA_NAME(dn_conv_tile_kernel)(int32_t vectors, int32_t pixels, int32_t stride);

#endif
