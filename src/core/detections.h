/* Detections: what the heads found, before and after suppression.
 *
 * A growable list of candidates and, beside it, one row of class probabilities each. Boxes are
 * relative to the network's input (0..1, corners, not clipped). The list keeps its memory between
 * images, so that a steady stream allocates nothing.
 */
#ifndef DN_CORE_DETECTIONS_H
#define DN_CORE_DETECTIONS_H

#include "core/layer.h"
#include "math/suppress.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dn_candidate {
    dn_box box;
    float objectness;
    int32_t image;
    int32_t best_class; /* after suppression: of the largest probability, -1 when all are 0 */
} dn_candidate;

struct dn_detections {
    int32_t classes;
    int32_t count, capacity;
    dn_candidate *items; /* (count) */
    float *probs;        /* (count, classes): objectness * class probability; 0: suppressed */
    void *scratch;       /* of dn_nms */
    size_t scratch_bytes;
};

/* Appends a candidate; *probs_out = its row, to be filled by the caller. */
dn_status dn_detections_add(dn_detections *detections, dn_candidate candidate, float **probs_out);
void dn_detections_free(dn_detections *detections);

/* The IoU above which boxes are suppressed where nobody says otherwise. */
#define DN_DEFAULT_NMS 0.45f

/* Collects image `image`'s candidates from all heads with index < `before` (the network's length:
 * all), suppresses overlaps class by class with the heads' own nms kind, sets best_class. The list
 * is emptied first. Order: heads in network order, inside by row, column, anchor. */
dn_status dn_detect(dn_network *network, const dn_pass *pass, int32_t before, int32_t image,
                    dn_detections *detections);

/* Stable suppression in place, class by class: of two boxes with IoU (or the kind's measure) above
 * `threshold` the one with the lower probability loses that class. Ties keep the earlier one. The
 * measures: DN_NMS_DEFAULT IoU; DN_NMS_GREEDY IoU - (d2/c2)^.6; DN_NMS_DIOU IoU - (d2/c2)^beta,
 * with d2 the squared distance of the centres and c2 the squared diagonal of the enclosing box. */
dn_status dn_nms(dn_detections *detections, float threshold, dn_nms_kind kind, float beta);

#ifdef __cplusplus
}
#endif

#endif
