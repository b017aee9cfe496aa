/* Geometry: the letterbox, axis-aligned maps between net and image pixels, boxes.
 *
 * Coordinates are continuous: pixel i covers [i, i+1), so an image w pixels wide spans [0, w]. The
 * types and functions are public (darknet.h); math/box.h adds what only the library needs.
 *
 * The letterbox follows Darknet's integer rule: the image is scaled to new_w x new_h and pasted at
 * (pad_x, pad_y), all four integers. Boxes and masks are undone with the same integers. Darknet
 * itself pastes pixels at the integer half of the margin but undoes boxes with the real half, which
 * shifts its boxes by half a net pixel where the margin is odd; we do not.
 */
#ifndef DN_DATA_GEOMETRY_H
#define DN_DATA_GEOMETRY_H

#include "math/box.h"

#endif
