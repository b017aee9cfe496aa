/* Polygons to masks, pixel for pixel as COCO's own tool draws them.
 *
 * Every ring is drawn by the even-odd rule on its own, then the rings are united, as COCO does with
 * the rings of one object. Rings may cross themselves, leave the image and be given closed or open.
 *
 * Method (COCO's, restated). Vertices go to a grid five times as fine, x' = trunc(5 x + .5). The
 * edge between two of them is the set of grid points that the longer of its two extents steps
 * through, the other coordinate rounded. A pixel column k owns the step from x' = 5k + 2 to 5k + 3,
 * the one around its centre: each time the outline makes it, in either direction, the column
 * changes between outside and inside at row ceil((y' + .5) / 5 - .5), y' the upper of the two
 * points, cut to 0..height. We compute those steps only, so a vertex far outside costs nothing.
 * Limits: coordinates up to 2e8 pixels, where COCO's integers end.
 */
#ifndef DN_DATA_POLYGON_H
#define DN_DATA_POLYGON_H

#include "core/status.h"

/* The public function is dn_rle_from_polygons in darknet.h. */

#endif
