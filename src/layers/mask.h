/* What others may know of a [mask] layer. */
#ifndef DN_LAYERS_MASK_H
#define DN_LAYERS_MASK_H

#include "core/network.h"

/* The network's last [mask], or NULL. */
const dn_layer *dn_mask_layer_of(const dn_network *network);

/* out (h, w) = the probabilities that RoI `roi` of the last pass, in inference, has for a class. */
void dn_mask_of_class(const dn_layer *layer, const dn_network *network, int32_t roi,
                      int32_t class_id, float *out);

#endif
