/* Detections of one image: all heads, suppression, best class. See detections.h. */
#include "core/memory.h"
#include "core/network.h"

static const dn_head_info *head_of(const dn_layer *layer)
{
    return layer->type->detect ? layer->state : NULL;
}

dn_status dn_network_head(const dn_network *network, int32_t before, dn_head_info *info)
{
    const dn_head_info *last = NULL;
    int32_t classes = 0;
    for (int32_t i = 0; i < before && i < network->layer_count; i++) {
        const dn_head_info *head = head_of(&network->layers[i]);
        if (!head) continue;
        last = head;
        if (head->classes > classes) classes = head->classes;
    }
    if (!last)
        return dn_fail(DN_ERROR_CONFIG, "%s: no head ([yolo] or [region]) before layer %d",
                       network->cfg->name, before);
    *info = *last;
    info->classes = classes;
    return DN_OK;
}

dn_status dn_network_get_head_statistics(const dn_network *network, int32_t layer,
                                         dn_head_statistics *statistics)
{
    const bool inside = layer >= 0 && layer < network->layer_count;
    const dn_head_info *head = inside ? head_of(&network->layers[layer]) : NULL;
    if (!head)
        return dn_fail(DN_ERROR_ARGUMENT, "layer %d is no head of the network's layers 0..%d",
                       layer, network->layer_count - 1);
    *statistics = head->statistics;
    return DN_OK;
}

static void set_best_classes(dn_detections *detections)
{
    for (int32_t i = 0; i < detections->count; i++) {
        const float *probs = detections->probs + (int64_t)i * detections->classes;
        int32_t best = -1;
        float most = 0.0f;
        for (int32_t c = 0; c < detections->classes; c++) {
            if (probs[c] <= most) continue;
            most = probs[c];
            best = c;
        }
        detections->items[i].best_class = best;
    }
}

/* Appends what the layer, if it is a head, found; where it can, on the device. */
static dn_status detect_layer(const dn_layer *layer, const dn_pass *pass, int32_t image,
                              dn_detections *detections)
{
    if (!layer->type->detect) return DN_OK;
    const dn_layer_kernels *kernels = pass->network->backend->kernels(layer->type);
    if (kernels && kernels->detect) return kernels->detect(layer, pass, image, detections);
    return layer->type->detect(layer, pass, image, detections);
}

static dn_status detect_layers(const dn_network *network, const dn_pass *pass, int32_t before,
                               int32_t image, const dn_head_info *info, dn_detections *detections)
{
    detections->count = 0;
    for (int32_t i = 0; i < before && i < network->run_count; i++)
        DN_TRY(detect_layer(&network->layers[i], pass, image, detections));
    const float threshold = pass->nms < 0.0f ? DN_DEFAULT_NMS : pass->nms;
    DN_TRY(dn_nms(detections, threshold, info->nms_kind, info->beta_nms));
    set_best_classes(detections);
    return DN_OK;
}

dn_status dn_detect(dn_network *network, const dn_pass *pass, int32_t before, int32_t image,
                    dn_detections *detections)
{
    const dn_backend *backend = network->backend;
    dn_head_info info = {0};
    bool done = false;
    DN_TRY(dn_network_head(network, before, &info));
    if (detections->classes != info.classes) {
        dn_detections_free(detections);
        detections->classes = info.classes;
    }
    if (backend->detect) DN_TRY(backend->detect(network, pass, before, image, detections, &done));
    return done ? DN_OK : detect_layers(network, pass, before, image, &info, detections);
}
