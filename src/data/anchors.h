/* Anchors: sizes of boxes that stand for all boxes of a data set.
 *
 * k-means with 1 - IoU of two boxes with one centre as the distance (Redmon and Farhadi 2017),
 * begun as k-means++ does (Arthur and Vassilvitskii 2007), a few times over; the best average IoU
 * counts. A function of boxes, count and seed alone.
 */
#ifndef DN_DATA_ANCHORS_H
#define DN_DATA_ANCHORS_H

#include "core/status.h"

#include <stdint.h>

typedef struct dn_size {
    double width, height;
} dn_size;

/* anchors: (count), by rising area. *average_iou: the mean over the boxes of the IoU with the best
 * anchor. Boxes need an area; there must be at least `count`. */
dn_status dn_anchors_find(const dn_size *boxes, int64_t box_count, int32_t count, uint64_t seed,
                          dn_size *anchors, double *average_iou);

#endif
