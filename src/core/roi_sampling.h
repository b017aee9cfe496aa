/* Which boxes become RoIs, in inference (roi_detections.c) and in training (roi_sampling.c). */
#ifndef DN_CORE_ROI_SAMPLING_H
#define DN_CORE_ROI_SAMPLING_H

#include "core/network.h"
#include "core/roi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The pass with which the RoIs' detector is asked: threshold and nms of `pass` where it has them,
 * else of the rules. */
dn_pass dn_roi_detector_pass(const dn_pass *pass, const dn_roi_rules *rules);

/* The RoI of one of the network's detections. */
dn_roi dn_roi_found(const dn_network *network, const dn_roi_rules *rules, int32_t image,
                    int32_t detection);

/* Inference: of each image the max_rois detections with the best class probabilities (ties: the
 * earlier one), by falling probability. Heads before layer `before` are asked.
 * Fills set->extras, too. */
dn_status dn_roi_from_detections(const dn_pass *pass, const dn_roi_rules *rules, int32_t before,
                                 dn_roi_set *set);

/* Inference: set->extras of RoIs that are not chosen but given. */
dn_status dn_roi_extras_of_given(const dn_pass *pass, const dn_roi_rules *rules, int32_t before,
                                 dn_roi_set *set);

/* Room for so many set->extras; those that are there stay. */
dn_status dn_roi_extras_reserve(dn_roi_set *set, int32_t count);

/* Training: of each image train_rois positive boxes, drawn from the detector's and the truth's. */
dn_status dn_roi_from_truth(const dn_pass *pass, const dn_roi_rules *rules, int32_t before,
                            dn_roi_set *set);

#ifdef __cplusplus
}
#endif

#endif
