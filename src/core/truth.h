/* What the loss layers compare with: the objects of one image, in network pixels.
 *
 * A truth owns nothing; the loader that made it keeps objects and masks alive during the pass.
 */
#ifndef DN_CORE_TRUTH_H
#define DN_CORE_TRUTH_H

#include "data/geometry.h"
#include "data/rle.h"

typedef struct dn_truth_object {
    dn_box box; /* network pixels, clipped to the network's input */
    int32_t class_id;
    bool crowd;         /* an ignore region: neither positive nor negative */
    const dn_rle *mask; /* original image pixels; NULL: a box without mask */
} dn_truth_object;

typedef struct dn_truth {
    int32_t object_count;
    const dn_truth_object *objects;
    dn_affine net_to_image; /* from network pixels to the pixels of the masks */
    const float *values;    /* classifier and [cost]: the wanted outputs, or NULL */
} dn_truth;

#endif
