/* From images to answers: what the files of src/infer ask of each other. */
#ifndef DN_INFER_PREDICT_H
#define DN_INFER_PREDICT_H

#include "core/network.h"
#include "data/geometry.h"

/* Gives the instances of image `image` of the last pass their masks: fills mask_size, masks, and
 * mask, mask_box and mask_score of each instance that has an RoI. The letterbox is the image's.
 * Does nothing where the network has no [mask]. */
dn_status dn_attach_masks(const dn_network *network, int32_t image, const dn_letterbox *letterbox,
                          dn_result *result);

/* Checks the images (at most the network's batch) and makes them the input of the next pass. */
dn_status dn_predict_input(dn_network *network, const dn_image *images, int32_t count, dn_fit how);

#endif
