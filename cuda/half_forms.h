/* The lists of forms of a type: half_fp16.cu and half_bf16.cu make one each. */
#ifndef DN_CUDA_HALF_FORMS_H
#define DN_CUDA_HALF_FORMS_H

#include "half_first.h"
#include "half_tile.h"

#define DN_HALF_TILES(T, type)                                                                     \
    static const dn_half_tile tiles_##type[] =                                                     \
        {                                                                                          \
            DN_TILE(T, false, "128x128", dn_tile_128_128),                                         \
            DN_TILE(T, false, "128x64", dn_tile_128_64),                                           \
            DN_TILE(T, false, "64x128", dn_tile_64_128),                                           \
            DN_TILE(T, false, "64x64", dn_tile_64_64),                                             \
            DN_TILE(T, false, "128x32", dn_tile_128_32),                                           \
            DN_TILE(T, false, "32x64", dn_tile_32_64),                                             \
    };                                                                                             \
    static const dn_half_tile pixels_##type[] = {                                                  \
        DN_TILE(T, true, "128x64", dn_tile_128_64),                                                \
        DN_TILE(T, true, "128x32", dn_tile_128_32),                                                \
        DN_FIRST(T, "first 64", 64),                                                               \
        DN_FIRST(T, "first 32", 32),                                                               \
    };                                                                                             \
    const dn_half_tiles dn_half_tiles_##type = {6, tiles_##type};                                  \
    const dn_half_tiles dn_half_pixels_##type = {2, pixels_##type};                                \
    const dn_half_tiles dn_half_first_##type = {4, pixels_##type};

#endif
