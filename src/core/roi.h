/* Regions of interest: the boxes behind every tensor that follows [roialign].
 *
 * The capacity is static, the live count is data. A roi_set belongs to its [roialign] layer and
 * travels, as a pointer, with every layer behind it. dn_roi itself is in darknet.h.
 */
#ifndef DN_CORE_ROI_H
#define DN_CORE_ROI_H

#include "data/geometry.h"

#include <stdbool.h>
#include <stddef.h>

/* A class of a RoI's box, other than the RoI's own, that is an instance of its own. */
typedef struct dn_roi_extra {
    int32_t roi, class_id;
} dn_roi_extra;

typedef struct dn_roi_set {
    int32_t capacity, count;
    int32_t per_image;       /* at most that many of one image */
    dn_roi *rois;            /* (capacity), the live ones first, sorted by image */
    const dn_roi *on_device; /* the same, where the form of [roialign] has them there; or NULL */
    dn_roi *drawn;           /* (2 * per_image): scratch of sampling */
    void *targets;           /* as well: where the truths are, grows with their number */
    size_t target_bytes;
    bool lists_extras; /* somebody reads the following, in inference */
    int32_t extra_count, extra_capacity;
    dn_roi_extra *extras; /* (extra_count), sorted by roi, then class; grows */
} dn_roi_set;

/* Which boxes become RoIs: the options of [roialign] that say so. */
typedef struct dn_roi_rules {
    int32_t max_rois;   /* of an image in inference: those with the best class probabilities */
    int32_t train_rois; /* of an image in training */
    float expand;       /* width and height are multiplied by 1 + expand */
    float score_thresh, nms;
    float positive_iou; /* training: a detector's box must overlap a truth that much */
    float box_jitter;   /* training: standard deviation of a side's shift, share of the box */
} dn_roi_rules;

#endif
