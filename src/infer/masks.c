/* Masks of the instances: the branch's answers, brought to the boxes of the image. See predict.h.
 *
 * An instance finds its RoI by the number of its detection. A class-agnostic branch has one mask
 * for all instances of a box, a per-class branch one for each (box, class). The mask covers the
 * enlarged box that was pooled. Its score is the instance's times the mean probability of the cells
 * above .5 ("maskness"): the detector knows nothing of the outline, the branch does.
 */
#include "infer/predict.h"

#include "core/memory.h"
#include "layers/mask.h"

/* The first RoI of the image, and how many it has. */
static int32_t rois_of_image(const dn_roi_set *set, int32_t image, int32_t *count)
{
    int32_t first = 0;
    while (first < set->count && set->rois[first].image < image) first++;
    int32_t last = first;
    while (last < set->count && set->rois[last].image == image) last++;
    *count = last - first;
    return first;
}

static float mean_above_half(const float *mask, int32_t cells)
{
    float sum = 0.0f;
    int32_t count = 0;
    for (int32_t i = 0; i < cells; i++) {
        if (mask[i] <= 0.5f) continue;
        sum += mask[i];
        count++;
    }
    return count ? sum / (float)count : 0.0f;
}

/* Gives one instance the mask of RoI r; `mask` is where it is kept. */
static dn_status attach(const dn_network *network, const dn_layer *layer, int32_t r,
                        const dn_letterbox *letterbox, float *mask, dn_instance *instance)
{
    const int32_t cells = layer->out.h * layer->out.w;
    DN_TRY(dn_mask_of_class(layer, network, r, instance->class_id, mask));
    instance->mask = mask;
    instance->mask_box = dn_letterbox_to_image(letterbox, layer->rois->rois[r].expanded);
    instance->mask_score = instance->score * mean_above_half(mask, cells);
    return DN_OK;
}

dn_status dn_attach_masks(const dn_network *network, int32_t image, const dn_letterbox *letterbox,
                          dn_result *result)
{
    const dn_layer *layer = dn_mask_layer_of(network);
    if (!layer) return DN_OK;
    const int32_t cells = layer->out.h * layer->out.w;
    int32_t roi_count;
    const int32_t first = rois_of_image(layer->rois, image, &roi_count);
    result->mask_size = layer->out.w;
    int32_t wanted = 0;
    for (int32_t i = 0; i < result->instance_count; i++)
        for (int32_t k = 0; k < roi_count; k++)
            wanted += layer->rois->rois[first + k].detection == result->instances[i].detection;
    if (wanted == 0) return DN_OK;
    result->masks = dn_alloc((size_t)wanted * (size_t)cells * sizeof *result->masks);
    if (!result->masks) return DN_ERROR_MEMORY;
    float *next = result->masks;
    for (int32_t i = 0; i < result->instance_count; i++)
        for (int32_t k = 0; k < roi_count; k++) {
            if (layer->rois->rois[first + k].detection != result->instances[i].detection) continue;
            DN_TRY(attach(network, layer, first + k, letterbox, next, &result->instances[i]));
            next += cells;
            break;
        }
    return DN_OK;
}
