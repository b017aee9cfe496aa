/* Masks of the instances: the branch's answers, brought to the boxes of the image. See predict.h.
 *
 * An instance finds its RoI by the number of its detection. A class-agnostic branch has one mask
 * for all instances of a box, a per-class branch one for each (box, class). The mask covers the
 * enlarged box that was pooled. Its score is the instance's times the mean probability of the cells
 * above .5 ("maskness"): the detector knows nothing of the outline, the branch does.
 */
#include "infer/predict.h"

#include "core/mask_device.h"
#include "core/memory.h"
#include "layers/mask.h"
#include "math/mask_paste.h"

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

/* The RoI of an instance among roi_count ones from `first` on; -1: it has none. */
static int32_t roi_of(const dn_roi_set *set, int32_t first, int32_t roi_count,
                      const dn_instance *instance)
{
    for (int32_t r = first; r < first + roi_count; r++)
        if (set->rois[r].detection == instance->detection) return r;
    return -1;
}

/* Lists the masks to ask for, in the instances' order. */
static int32_t list_masks(const dn_layer *layer, int32_t image, const dn_result *result,
                          dn_mask_request *requests)
{
    int32_t roi_count, count = 0;
    const int32_t first = rois_of_image(layer->rois, image, &roi_count);
    for (int32_t i = 0; i < result->instance_count; i++) {
        const int32_t r = roi_of(layer->rois, first, roi_count, &result->instances[i]);
        if (r >= 0) requests[count++] = (dn_mask_request){r, result->instances[i].class_id};
    }
    return count;
}

/* Instances and the masks that were listed for them, in the same order. */
static void place(const dn_layer *layer, const dn_letterbox *letterbox,
                  const dn_mask_request *requests, int32_t count, dn_result *result)
{
    const int32_t cells = layer->out.h * layer->out.w;
    dn_instance *instance = result->instances;
    for (int32_t k = 0; k < count; k++, instance++) {
        const dn_roi *roi = &layer->rois->rois[requests[k].roi];
        while (instance->detection != roi->detection) instance++;
        instance->mask = result->masks + (int64_t)k * cells;
        instance->mask_box = dn_letterbox_to_image(letterbox, roi->expanded);
    }
}

dn_status dn_masks_place(const dn_layer *layer, int32_t image, const dn_letterbox *letterbox,
                         dn_result *result, dn_mask_list *list)
{
    const int32_t cells = layer->out.h * layer->out.w;
    list->count = 0;
    list->requests = dn_alloc((size_t)result->instance_count * sizeof *list->requests);
    if (!list->requests) return DN_ERROR_MEMORY;
    result->mask_size = layer->out.w;
    const int32_t count = list_masks(layer, image, result, list->requests);
    if (count == 0) return DN_OK;
    result->masks = dn_alloc((size_t)count * (size_t)cells * sizeof *result->masks);
    if (!result->masks) return DN_ERROR_MEMORY;
    list->count = count;
    place(layer, letterbox, list->requests, count, result);
    return DN_OK;
}

void dn_masks_score(dn_result *result)
{
    for (int32_t i = 0; i < result->instance_count; i++) {
        dn_instance *instance = &result->instances[i];
        if (!instance->mask) continue;
        instance->mask_score =
            instance->score *
            dn_mask_mean_above_half(instance->mask, result->mask_size * result->mask_size);
    }
}

dn_status dn_attach_masks(dn_network *network, int32_t image, const dn_letterbox *letterbox,
                          dn_result *result)
{
    const dn_layer *layer = dn_mask_layer_of(network);
    dn_mask_list list = {0};
    if (!layer) return DN_OK;
    dn_status status = dn_masks_place(layer, image, letterbox, result, &list);
    if (status == DN_OK && list.count > 0)
        status = dn_masks_of(layer, network, list.requests, list.count, result->masks);
    dn_free(list.requests);
    if (status == DN_OK) dn_masks_score(result);
    return status;
}

void dn_list_masks(const dn_layer *layer, int32_t image, const dn_letterbox *letterbox,
                   dn_result *result, dn_mask_job *jobs)
{
    int32_t roi_count;
    const int32_t first = rois_of_image(layer->rois, image, &roi_count);
    result->mask_size = layer->out.w;
    for (int32_t i = 0; i < result->instance_count; i++) {
        dn_instance *instance = &result->instances[i];
        const int32_t r = roi_of(layer->rois, first, roi_count, instance);
        if (r >= 0)
            instance->mask_box = dn_letterbox_to_image(letterbox, layer->rois->rois[r].expanded);
        jobs[i] = (dn_mask_job){.roi = r,
                                .class_id = instance->class_id,
                                .box = instance->mask_box,
                                .height = result->height,
                                .width = result->width};
    }
}
