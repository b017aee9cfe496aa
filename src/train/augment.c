/* What the cfg asks for: see augment.h. The mask stage has keys of its own; the detector's and the
 * joint stage read Darknet's, jitter and resize of the last head as Darknet does. */
#include "train/augment.h"

enum { DN_MIXUP = 1, DN_MIXUP_MOSAIC = 3 }; /* values of Darknet's `mixup` */

static dn_status take_zoom(const dn_network *network, const char *key, const dn_floats *zoom,
                           dn_augment *augment)
{
    if (zoom->count == 0) return DN_OK;
    if (zoom->count != 2 || zoom->items[0] > zoom->items[1])
        return dn_fail(DN_ERROR_CONFIG,
                       "%s:%d: [net] %s needs two numbers, the smallest and the largest zoom",
                       network->cfg->name, network->cfg->sections[0].line, key);
    augment->zoom_min = zoom->items[0];
    augment->zoom_max = zoom->items[1];
    return DN_OK;
}

static dn_status of_masks(const dn_network *network, dn_augment *augment)
{
    const dn_net_options *net = &network->net;
    augment->shake = net->mask_jitter;
    augment->resize = 1;
    augment->mosaic = net->mask_mosaic;
    augment->copy_paste = net->mask_copy_paste;
    return take_zoom(network, "mask_scale_jitter", &net->mask_scale_jitter, augment);
}

static dn_status of_detector(const dn_network *network, dn_augment *augment)
{
    const dn_net_options *net = &network->net;
    dn_head_info head = {.resize = 1};
    if (dn_network_classes(network) > 0 && !dn_network_is_classifier(network))
        DN_TRY(dn_network_head(network, network->layer_count, &head));
    augment->jitter = head.jitter;
    augment->resize = head.resize;
    augment->mosaic = net->mosaic || net->mixup == DN_MIXUP_MOSAIC;
    augment->mixup = net->mixup == DN_MIXUP;
    augment->copy_paste = net->copy_paste;
    return take_zoom(network, "scale_jitter", &net->scale_jitter, augment);
}

dn_status dn_augment_make(const dn_network *network, dn_stage stage, bool plain, dn_augment *out)
{
    const dn_net_options *net = &network->net;
    *out = (dn_augment){.saturation = 1, .exposure = 1, .resize = 1};
    if (plain) return DN_OK;
    out->hue = net->hue;
    out->saturation = net->saturation;
    out->exposure = net->exposure;
    out->flip = net->flip;
    out->mosaic_bound = net->mosaic_bound;
    return stage == DN_STAGE_MASK ? of_masks(network, out) : of_detector(network, out);
}
