/* Regions of interest: the boxes behind every tensor that follows [roialign].
 *
 * The capacity is static (batch * max_rois), the live count is data. A roi_set belongs to its
 * [roialign] layer and travels, as a pointer, with every layer behind it.
 */
#ifndef DN_CORE_ROI_H
#define DN_CORE_ROI_H

#include "darknet.h"

typedef struct dn_roi {
    int32_t image;     /* in the batch */
    int32_t class_id;  /* best class; of the truth when training */
    int32_t truth;     /* matched object of dn_truth.objects, -1: none */
    int32_t detection; /* index into the network's detections, -1: from a truth */
    float score;       /* of the best class */
    dn_box box;        /* network pixels */
    dn_box expanded;   /* pooled and pasted area, network pixels, not clipped */
} dn_roi;

typedef struct dn_roi_set {
    int32_t capacity, count;
    int32_t per_image; /* at most that many of one image */
    dn_roi *rois;      /* (capacity), the live ones first, sorted by image */
} dn_roi_set;

#endif
