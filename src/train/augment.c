/* What the cfg asks for: see augment.h. */
#include "train/augment.h"

dn_augment dn_augment_of(const dn_network *network, dn_stage stage, bool plain)
{
    const dn_net_options *net = &network->net;
    (void)stage;
    if (plain) return (dn_augment){.saturation = 1, .exposure = 1};
    return (dn_augment){
        .jitter = net->mask_jitter,
        .hue = net->hue,
        .saturation = net->saturation,
        .exposure = net->exposure,
        .flip = net->flip,
    };
}
