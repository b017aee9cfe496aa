/* Where an element lies in an array of maps. Most arrays have fewer than 2^32 elements, and a
 * division of 64 bits takes several times as long as one of 32. */
#ifndef DN_CUDA_PLACE_H
#define DN_CUDA_PLACE_H

#include "launch.h"

typedef struct dn_place {
    int32_t x, y;
    int64_t map;
} dn_place;

/* i = (map * h + y) * w + x */
static __device__ inline dn_place dn_place_of(int64_t i, int32_t w, int32_t h)
{
    dn_place place;
    if (i <= UINT32_MAX) {
        const uint32_t row = (uint32_t)i / (uint32_t)w, map = row / (uint32_t)h;
        place.x = (int32_t)((uint32_t)i - row * (uint32_t)w);
        place.y = (int32_t)(row - map * (uint32_t)h);
        place.map = map;
        return place;
    }
    const int64_t row = i / w;
    place.x = (int32_t)(i - row * w);
    place.map = row / h;
    place.y = (int32_t)(row - place.map * h);
    return place;
}

#endif
