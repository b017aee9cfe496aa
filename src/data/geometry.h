/* Geometry: the letterbox, axis-aligned maps between net and image pixels, boxes.
 *
 * Coordinates are continuous: pixel i covers [i, i+1), so an image w pixels wide spans [0, w]. The
 * types and functions are public (darknet.h); this header adds what only the library needs.
 *
 * The letterbox follows Darknet's integer rule: the image is scaled to new_w x new_h and pasted at
 * (pad_x, pad_y), all four integers. Boxes and masks are undone with the same integers. Darknet
 * itself pastes pixels at the integer half of the margin but undoes boxes with the real half, which
 * shifts its boxes by half a net pixel where the margin is odd; we do not.
 */
#ifndef DN_DATA_GEOMETRY_H
#define DN_DATA_GEOMETRY_H

#include "darknet.h"

/* A box of nothing (no area, or corners that are not numbers). */
static inline bool dn_box_is_empty(dn_box box)
{
    return !(box.x1 > box.x0 && box.y1 > box.y0);
}

/* The box of centre (x, y) and size w x h. */
static inline dn_box dn_box_from_centre(float x, float y, float w, float h)
{
    const dn_box box = {x - .5f * w, y - .5f * h, x + .5f * w, y + .5f * h};
    return box;
}

/* The box with all coordinates multiplied by (x, y): fractions to pixels, one size to another. */
static inline dn_box dn_box_scale(dn_box box, float x, float y)
{
    const dn_box scaled = {box.x0 * x, box.y0 * y, box.x1 * x, box.y1 * y};
    return scaled;
}

#endif
