/* What others may know of a [roialign] layer. */
#ifndef DN_LAYERS_ROIALIGN_H
#define DN_LAYERS_ROIALIGN_H

#include "core/layer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The rules by which the layer chooses its boxes. */
const dn_roi_rules *dn_roialign_rules(const dn_layer *layer);

/* Its RoIs; NULL where `layer` is of another type. */
const dn_roi_set *dn_roialign_set(const dn_layer *layer);

#ifdef __cplusplus
}
#endif

#endif
