/* Mask targets: what a mask branch should answer for a RoI.
 *
 * The RoI is cut into size x size cells. A cell's target is the exact share of its area that the
 * mask covers, pixels being unit squares of the original image; outside the image there is no
 * mask. The RoI is given in network pixels and may be mirrored, scaled and cut by augmentation: the
 * map from network to image pixels carries all of that, so a mask is never resampled.
 *
 * Soft targets keep the share, binary ones are 1 from one half on. Soft ones raise the ceiling of
 * what a perfect branch could score on coco125 from 97.8 to 99.8 (tests/test_mask_geometry.py),
 * because the paste interpolates between cells and finds the outline again.
 *
 * Method: walk the image columns that the RoI touches once, from left to right, with a cursor into
 * the runs; lay each column's runs on the cell rows; add the column to the cell columns it
 * overlaps. No image-sized memory. Cost: runs left of and in the RoI + its columns * size.
 */
#ifndef DN_DATA_MASK_TARGET_H
#define DN_DATA_MASK_TARGET_H

#include "data/geometry.h"
#include "data/rle.h"

/* The public function is dn_mask_target in darknet.h. */

#endif
