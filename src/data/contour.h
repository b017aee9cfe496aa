/* Contours: the outlines of a mask as polygons.
 *
 * Outlines follow the edges of pixels, so points are whole numbers, pixel corners: one pixel at
 * (x, y) has the outline (x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1). Drawn again by
 * dn_rle_from_polygons, outlines that were not simplified give the mask back exactly. Pixels that
 * touch at a corner belong together (8-connected, as OpenCV's contours). Outer rings run clockwise
 * on the screen, holes the other way.
 *
 * Most label formats know no holes, and the rings of an object are united; so holes can be joined
 * to their outer ring by a bridge, a line that is walked there and back: by the even-odd rule, and
 * by the non-zero rule, it adds nothing and the hole stays a hole.
 *
 * Method: the mask's bounding box is decoded, the pixel edges between inside and outside are
 * followed with the inside on the right. The parent of a hole is the first outer ring met going
 * left from its leftmost edge, through holes of the same part. Simplifying is Douglas and
 * Peucker's. Limits: memory of 5 bytes a pixel of the bounding box.
 */
#ifndef DN_DATA_CONTOUR_H
#define DN_DATA_CONTOUR_H

#include "data/rle.h"

/* A pixel corner. */
typedef struct dn_corner {
    int32_t x, y;
} dn_corner;

/* A growing list of corners. */
typedef struct dn_corners {
    dn_corner *list;
    int64_t count, capacity;
} dn_corners;

/* Makes room for `more` corners. */
dn_status dn_corners_reserve(dn_corners *corners, int64_t more);

dn_status dn_corners_add(dn_corners *corners, dn_corner corner);

/* Appends the ring (count corners), without those that lie within `tolerance` pixels of the line
 * that stays; at least three stay. tolerance 0: appends all. */
dn_status dn_ring_simplify(dn_corners *out, const dn_corner *ring, int64_t count, double tolerance);

/* Joins `ring` (count corners) to the one that `out` holds, if any, by a bridge from its first
 * corner. */
dn_status dn_ring_bridge(dn_corners *out, const dn_corner *ring, int64_t count);

#endif
