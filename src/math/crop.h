/* The part of an image that [crop] takes: a function of where it is asked for, so that backward
 * finds it again without saving it. */
#ifndef DN_MATH_CROP_H
#define DN_MATH_CROP_H

#include "core/rng.h"
#include "math/portable.h"

typedef struct dn_cut {
    int32_t h, w, out_h, out_w; /* of a plane */
    float factor, shift;        /* a value x becomes factor * x + shift */
    bool anywhere;              /* training: the part is drawn; else the middle */
    bool flip;                  /* half of the drawn parts are mirrored */
    uint64_t seed, iteration;
    int32_t layer;
} dn_cut;

/* Column x of the output is column first + x * direction of the input. */
typedef struct dn_cut_place {
    int32_t top, first, direction;
} dn_cut_place;

DN_HD dn_cut_place dn_cut_place_of(const dn_cut *crop, int32_t image)
{
    const int32_t room_y = crop->h - crop->out_h, room_x = crop->w - crop->out_w;
    dn_cut_place place = {room_y / 2, room_x / 2, 1};
    if (!crop->anywhere) return place;
    const uint64_t slot = ((uint64_t)crop->layer << 32) ^ (uint64_t)image;
    dn_rng rng = dn_rng_make(crop->seed, crop->iteration, slot, DN_RNG_AUGMENT);
    place.top = dn_rng_below(&rng, room_y + 1);
    place.first = dn_rng_below(&rng, room_x + 1);
    if (crop->flip && dn_rng_below(&rng, 2) == 1) {
        place.first = crop->w - 1 - place.first;
        place.direction = -1;
    }
    return place;
}

/* Index in the input's plane of the output's element (y, x). */
DN_HD int32_t dn_cut_source(const dn_cut *crop, dn_cut_place place, int32_t y, int32_t x)
{
    return (place.top + y) * crop->w + place.first + x * place.direction;
}

#endif
