/* From images to instances: what predict.c asks of masks.c. */
#ifndef DN_INFER_PREDICT_H
#define DN_INFER_PREDICT_H

#include "core/network.h"
#include "data/geometry.h"

/* Gives the instances of image `image` of the last pass their masks: fills mask_size, masks, and
 * mask, mask_box and mask_score of each instance that has an RoI. The letterbox is the image's.
 * Does nothing where the network has no [mask]. */
dn_status dn_attach_masks(const dn_network *network, int32_t image, const dn_letterbox *letterbox,
                          dn_result *result);

#endif
