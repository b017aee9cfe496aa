/* Which register tiles there are, and how a row is cut into them. A tile has 1 or 2 vectors of
 * output channels and, at most, so many pixels that all sums, the weights and a broadcast are in
 * registers.
 */
#ifndef DN_BLOCKED_TILE_SHAPES_H
#define DN_BLOCKED_TILE_SHAPES_H

#include "blocked/vector.h"

enum {
    DN_TILE_VECTORS = 2,
    /* pixels at most with two vectors, with one, and of any tile */
    DN_TILE_PIXELS_2 = DN_REGISTERS == 32 ? 14 : 6,
    DN_TILE_PIXELS_1 = DN_REGISTERS == 32 ? 14 : 12,
    DN_TILE_PIXELS = 14
};

/* X(vectors, pixels) for every number of pixels, and for all tiles of one and of two vectors. */
#define DN_TILES_TO_6(X, v)  X(v, 1) X(v, 2) X(v, 3) X(v, 4) X(v, 5) X(v, 6)
#define DN_TILES_TO_12(X, v) DN_TILES_TO_6(X, v) X(v, 7) X(v, 8) X(v, 9) X(v, 10) X(v, 11) X(v, 12)
#define DN_TILES_TO_14(X, v) DN_TILES_TO_12(X, v) X(v, 13) X(v, 14)
#if DN_REGISTERS == 32
#define DN_TILES_OF_1(X) DN_TILES_TO_14(X, 1)
#define DN_TILES_OF_2(X) DN_TILES_TO_14(X, 2)
#else
#define DN_TILES_OF_1(X) DN_TILES_TO_12(X, 1)
#define DN_TILES_OF_2(X) DN_TILES_TO_6(X, 2)
#endif

/* A row of `width` pixels is cut into as few tiles of at most `most` as can be, ... */
static inline int32_t dn_tiles_of_row(int32_t width, int32_t most)
{
    return (width + most - 1) / most;
}

/* ... whose widths differ by one pixel at most: that of tile i of `count`. */
static inline int32_t dn_tile_width(int32_t width, int32_t count, int32_t i)
{
    return width / count + (i < width % count);
}

#endif
