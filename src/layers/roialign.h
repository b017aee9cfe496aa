/* What others may know of a [roialign] layer. */
#ifndef DN_LAYERS_ROIALIGN_H
#define DN_LAYERS_ROIALIGN_H

#include "core/layer.h"
#include "math/roi_pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Its state. */
typedef struct dn_roialign {
    dn_roi_set set;
    dn_roi *given;       /* (given_count): tests set them */
    int32_t given_count; /* -1: none */
} dn_roialign;

/* The rules by which the layer chooses its boxes. */
const dn_roi_rules *dn_roialign_rules(const dn_layer *layer);

/* Its RoIs; NULL where `layer` is of another type. */
const dn_roi_set *dn_roialign_set(const dn_layer *layer);

/* Fills layer->rois for this pass: a forward's first step. Runs on the CPU. */
dn_status dn_roialign_choose(dn_layer *layer, const dn_pass *pass);

/* Whether that asks the detector alone, as inference does; whether boxes get the map that fits
 * them. */
bool dn_roialign_asks_detector(const dn_layer *layer, const dn_pass *pass);
bool dn_roialign_assigns(const dn_layer *layer);

/* How its bins are pooled; the shape and the scale of its `level`-th map. */
dn_roi_pool dn_roialign_pool(const dn_layer *layer);
dn_roi_map dn_roialign_map(const dn_layer *layer, const dn_network *network, int32_t level);

#ifdef __cplusplus
}
#endif

#endif
