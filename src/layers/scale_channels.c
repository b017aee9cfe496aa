/* [scale_channels]: the map of layer `from`, each channel times one value of the layer before (a
 * squeeze-and-excitation block; Hu et al. 2018); with scale_wh=1 each pixel times one value. */
#include "core/network.h"
#include "layers/scale.h"
#include "math/activation.h"

#include <stdio.h>

#define S dn_scale_options
static const dn_option options[] = {
    DN_INT(S, from, "from", DN_SCALE_NO_LAYER, 0, 0, "the map; negative: counted back from here"),
    DN_FLAG(S, scale_wh, "scale_wh", 0, "1: the layer before has a value a pixel"),
    DN_CHOICE(S, activation, "activation", DN_ACTIVATION_linear, dn_activation_names,
              "what follows"),
    DN_OPTIONS_END,
};
#undef S

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_scale_options *o = layer->options;
    return dn_scale_setup(layer, network, o->scale_wh ? DN_SCALE_PIXEL : DN_SCALE_CHANNEL);
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    (void)network;
    snprintf(text, size, "scale Layer: %d", layer->inputs[1]);
}

const dn_layer_type dn_scale_channels_layer = {
    .name = "scale_channels",
    .options_size = sizeof(dn_scale_options),
    .options = options,
    .state_size = sizeof(dn_scale_geometry),
    .connect = dn_scale_connect,
    .setup = setup,
    .cpu = {dn_scale_forward, dn_scale_backward},
    .describe = describe,
};
