/* Register tiles, one function a shape. See conv_tile.h. */
#include "blocked/conv_tile_steps.h"

/* Distances that are constants become parts of the instructions' addresses. */
#define KERNELS(vectors, pixels)                                                                   \
    static void tile_##vectors##_##pixels##_stride_1(const dn_conv_tile *tile)                     \
    {                                                                                              \
        dn_tile_run(tile, vectors, pixels, DN_TILE_CHANNELS, DN_LANES);                            \
    }                                                                                              \
    static void tile_##vectors##_##pixels##_stride_2(const dn_conv_tile *tile)                     \
    {                                                                                              \
        dn_tile_run(tile, vectors, pixels, DN_TILE_CHANNELS, 2 * DN_LANES);                        \
    }                                                                                              \
    static void tile_##vectors##_##pixels##_any(const dn_conv_tile *tile)                          \
    {                                                                                              \
        dn_tile_run(tile, vectors, pixels, DN_TILE_CHANNELS, tile->in_pixel);                      \
    }
#define NAMES(vectors, pixels)                                                                     \
    {tile_##vectors##_##pixels##_stride_1, tile_##vectors##_##pixels##_stride_2,                   \
     tile_##vectors##_##pixels##_any},

#define UP_TO_6(X, v)  X(v, 1) X(v, 2) X(v, 3) X(v, 4) X(v, 5) X(v, 6)
#define UP_TO_12(X, v) UP_TO_6(X, v) X(v, 7) X(v, 8) X(v, 9) X(v, 10) X(v, 11) X(v, 12)
#define UP_TO_14(X, v) UP_TO_12(X, v) X(v, 13) X(v, 14)
#if defined(__AVX512F__) || defined(__ARM_NEON)
#define ALL_OF_1(X) UP_TO_14(X, 1)
#define ALL_OF_2(X) UP_TO_14(X, 2)
#else
#define ALL_OF_1(X) UP_TO_12(X, 1)
#define ALL_OF_2(X) UP_TO_6(X, 2)
#endif

ALL_OF_1(KERNELS)
ALL_OF_2(KERNELS)

static const dn_conv_tile_run of_1[DN_TILE_PIXELS_1][3] = {ALL_OF_1(NAMES)};
static const dn_conv_tile_run of_2[DN_TILE_PIXELS_2][3] = {ALL_OF_2(NAMES)};

dn_conv_tile_run DN_ISA_NAME(dn_conv_tile_kernel)(int32_t vectors, int32_t pixels, int32_t stride)
{
    const int32_t kind = stride <= 2 ? stride - 1 : 2;
    return vectors == 2 ? of_2[pixels - 1][kind] : of_1[pixels - 1][kind];
}
