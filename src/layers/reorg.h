/* What [reorg] and [reorg3d] share: a permutation of each image's values (math/reorg.h). */
#ifndef DN_LAYERS_REORG_H
#define DN_LAYERS_REORG_H

#include "core/layer.h"
#include "math/reorg.h"

typedef struct dn_reorg_options {
    int32_t stride;
    bool reverse, flatten; /* flatten and extra: [reorg] only */
    int32_t extra;
} dn_reorg_options;

typedef struct dn_reorg {
    dn_reorg_geometry geometry;
    bool to_large; /* the output is the large map; else the deep one */
} dn_reorg;

/* The output's shape, c * stride^2 or, where reverse, c / stride^2 channels. */
dn_status dn_reorg_set_output(dn_layer *layer, const dn_network *network);

dn_status dn_reorg_forward(dn_layer *layer, const dn_pass *pass);
dn_status dn_reorg_backward(dn_layer *layer, const dn_pass *pass);
void dn_reorg_describe(const dn_layer *layer, const dn_network *network, char *text, size_t size);

#endif
