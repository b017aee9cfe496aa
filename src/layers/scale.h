/* What [scale_channels] and [sam] share: out = f(scales * map), where input 0, the layer before, is
 * the scales and input 1, `from`, the map. */
#ifndef DN_LAYERS_SCALE_H
#define DN_LAYERS_SCALE_H

#include "core/layer.h"
#include "math/scale.h"

typedef struct dn_scale_options {
    int32_t from, activation;
    bool scale_wh; /* [scale_channels] only */
} dn_scale_options;

/* `from` where the cfg has none. */
enum { DN_SCALE_NO_LAYER = -1000000000 };

dn_status dn_scale_connect(dn_layer *layer, dn_network *network);

/* Sets the output and the state, a dn_scale_geometry; the scales must have this kind's shape. */
dn_status dn_scale_setup(dn_layer *layer, const dn_network *network, dn_scale_kind kind);

dn_status dn_scale_forward(dn_layer *layer, const dn_pass *pass);
dn_status dn_scale_backward(dn_layer *layer, const dn_pass *pass);

#endif
