/* [sam]: the layer before times layer `from`, element by element (a spatial attention module; Woo
 * et al. 2018). */
#include "core/network.h"
#include "layers/scale.h"
#include "math/activation.h"

#include <stdio.h>

#define S dn_scale_options
static const dn_option options[] = {
    DN_INT(S, from, "from", DN_SCALE_NO_LAYER, 0, 0, "the map; negative: counted back from here"),
    DN_CHOICE(S, activation, "activation", DN_ACTIVATION_linear, dn_activation_names,
              "what follows"),
    DN_OPTIONS_END,
};
#undef S

static dn_status setup(dn_layer *layer, dn_network *network)
{
    return dn_scale_setup(layer, network, DN_SCALE_VALUE);
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    (void)network;
    snprintf(text, size, "sam Layer: %d", layer->inputs[1]);
}

const dn_layer_type dn_sam_layer = {
    .name = "sam",
    .options_size = sizeof(dn_scale_options),
    .options = options,
    .state_size = sizeof(dn_scale_geometry),
    .connect = dn_scale_connect,
    .setup = setup,
    .cpu = {dn_scale_forward, dn_scale_backward},
    .describe = describe,
};
