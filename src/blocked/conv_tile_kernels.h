/* The register tiles of one precision, one function a shape: for the one file that defines
 * DN_TILE_PRECISION, and DN_TILE_STRIDES, up to which a stride has kernels of its own, and exports
 * kernel_of. See conv_tile.h.
 */
#ifndef DN_BLOCKED_CONV_TILE_KERNELS_H
#define DN_BLOCKED_CONV_TILE_KERNELS_H

#include "blocked/conv_tile_steps.h"

/* Distances that are constants become parts of the instructions' addresses. */
#define KERNEL(vectors, pixels, kind, in_pixel)                                                    \
    static void tile_##vectors##_##pixels##_##kind(const dn_conv_tile *tile)                       \
    {                                                                                              \
        dn_tile_run(DN_TILE_PRECISION, tile, vectors, pixels, DN_TILE_CHANNELS, in_pixel);         \
    }
#if DN_TILE_STRIDES == 2
#define KERNELS(vectors, pixels)                                                                   \
    KERNEL(vectors, pixels, stride_1, DN_LANES)                                                    \
    KERNEL(vectors, pixels, stride_2, 2 * DN_LANES)                                                \
    KERNEL(vectors, pixels, any, tile->in_pixel)
#define NAMES(vectors, pixels)                                                                     \
    {tile_##vectors##_##pixels##_stride_1, tile_##vectors##_##pixels##_stride_2,                   \
     tile_##vectors##_##pixels##_any},
#else
#define KERNELS(vectors, pixels)                                                                   \
    KERNEL(vectors, pixels, stride_1, DN_LANES)                                                    \
    KERNEL(vectors, pixels, any, tile->in_pixel)
#define NAMES(vectors, pixels)                                                                     \
    {tile_##vectors##_##pixels##_stride_1, tile_##vectors##_##pixels##_any},
#endif

DN_TILES_OF_1(KERNELS)
DN_TILES_OF_2(KERNELS)

static const dn_conv_tile_run of_1[DN_TILE_PIXELS_1][DN_TILE_STRIDES + 1] = {DN_TILES_OF_1(NAMES)};
static const dn_conv_tile_run of_2[DN_TILE_PIXELS_2][DN_TILE_STRIDES + 1] = {DN_TILES_OF_2(NAMES)};

static inline dn_conv_tile_run kernel_of(int32_t vectors, int32_t pixels, int32_t stride)
{
    const int32_t kind = stride <= DN_TILE_STRIDES ? stride - 1 : DN_TILE_STRIDES;
    return vectors == 2 ? of_2[pixels - 1][kind] : of_1[pixels - 1][kind];
}

#endif
