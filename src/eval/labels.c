/* Truths from a data set, for one image: see evaluator.h.
 *
 * Boxes and areas stay doubles as labelled; those in fractions of the image are scaled to pixels.
 */
#include "core/memory.h"
#include "eval/evaluator.h"

static dn_eval_truth truth_of(const dn_dataset_object *object, int32_t width, int32_t height)
{
    const double x_scale = object->fractions ? width : 1, y_scale = object->fractions ? height : 1;
    return (dn_eval_truth){
        .bbox = {object->bbox[0] * x_scale, object->bbox[1] * y_scale, object->bbox[2] * x_scale,
                 object->bbox[3] * y_scale},
        .area = object->area * x_scale * y_scale,
        .id = object->id,
        .class_id = object->class_id,
        .crowd = object->crowd,
    };
}

static dn_status fill(const dn_dataset *dataset, int64_t image, int32_t width, int32_t height,
                      bool masks, dn_truth_list *list)
{
    const dn_dataset_view *view = dn_dataset_get(dataset);
    const dn_dataset_image *info = &view->images[image];
    list->truths = dn_alloc((size_t)info->object_count * sizeof *list->truths);
    if (masks) list->masks = dn_alloc((size_t)info->object_count * sizeof *list->masks);
    if (!list->truths || (masks && !list->masks)) return DN_ERROR_MEMORY;
    for (; list->count < info->object_count; list->count++) {
        const int64_t i = list->count, object = info->first_object + i;
        list->truths[i] = truth_of(&view->objects[object], width, height);
        if (!masks) continue;
        DN_TRY(dn_dataset_mask(dataset, image, object, width, height, &list->masks[i]));
        list->truths[i].mask = &list->masks[i];
    }
    return DN_OK;
}

dn_status dn_truths_of_image(const dn_dataset *dataset, int64_t image, int32_t width,
                             int32_t height, bool masks, dn_truth_list *out)
{
    const dn_dataset_view *view = dn_dataset_get(dataset);
    if (image < 0 || image >= view->image_count)
        return dn_fail(DN_ERROR_ARGUMENT, "data set: image %lld of %lld", (long long)image,
                       (long long)view->image_count);
    const dn_dataset_image *info = &view->images[image];
    if ((info->width > 0 && info->width != width) || (info->height > 0 && info->height != height))
        return dn_fail(DN_ERROR_DATA, "%s: is %d x %d (width x height), but %s says %d x %d",
                       info->path, (int)width, (int)height, info->label_path, (int)info->width,
                       (int)info->height);
    dn_truth_list list = {0};
    const dn_status status = fill(dataset, image, width, height, masks, &list);
    if (status == DN_OK)
        *out = list;
    else
        dn_truth_list_free(&list);
    return status;
}

void dn_truth_list_free(dn_truth_list *list)
{
    for (int64_t i = 0; list->masks && i < list->count; i++) dn_rle_free(&list->masks[i]);
    dn_free(list->masks);
    dn_free(list->truths);
    *list = (dn_truth_list){0};
}

dn_status dn_evaluator_add_labelled(dn_evaluator *evaluator, const dn_dataset *dataset,
                                    int64_t image, int32_t width, int32_t height,
                                    const dn_eval_image *found)
{
    dn_truth_list list;
    DN_TRY(dn_truths_of_image(dataset, image, width, height, evaluator->options.masks, &list));
    dn_eval_image whole = *found;
    whole.id = dn_dataset_get(dataset)->images[image].id;
    whole.truths = list.truths;
    whole.truth_count = list.count;
    const dn_status status = dn_evaluator_add(evaluator, &whole, 1);
    dn_truth_list_free(&list);
    return status;
}
