/* Pictures: see picture.h. */
#include "train/picture.h"

#include "core/memory.h"
#include "data/geometry.h"
#include "data/image.h"

enum { DN_TRIES = 100 }; /* images one after the other that cannot be used */

static dn_status load_pixels(const char *path, const dn_shrink_rule *rule, dn_picture *picture)
{
    DN_TRY(dn_image_size(path, &picture->width, &picture->height));
    picture->shrink = rule ? rule->shrink(rule->context, picture->width, picture->height) : 1;
    return dn_image_load_shrunk(path, &picture->shrink, &picture->image);
}

static dn_status load_object(const dn_dataset *dataset, int64_t index, const dn_picture *picture,
                             dn_picture_object *out)
{
    const dn_dataset_object *object = &dn_dataset_get(dataset)->objects[index];
    *out = (dn_picture_object){
        .box = dn_dataset_box(object, picture->width, picture->height),
        .class_id = object->class_id,
        .crowd = object->crowd,
    };
    out->size = dn_box_area(out->box);
    if (object->kind == DN_OBJECT_BOX) return DN_OK;
    DN_TRY(dn_dataset_mask(dataset, picture->index, index, picture->width, picture->height,
                           &out->mask));
    out->size = (float)dn_rle_area(&out->mask);
    return DN_OK;
}

static dn_status load(const dn_dataset *dataset, int64_t index, const dn_shrink_rule *rule,
                      dn_picture *picture)
{
    const dn_dataset_image *info = &dn_dataset_get(dataset)->images[index];
    *picture = (dn_picture){.index = index};
    DN_TRY(load_pixels(info->path, rule, picture));
    picture->objects = dn_alloc((size_t)info->object_count * sizeof *picture->objects);
    dn_status status = picture->objects ? DN_OK : DN_ERROR_MEMORY;
    for (int64_t i = 0; i < info->object_count && status == DN_OK; i++) {
        dn_picture_object *object = &picture->objects[picture->object_count];
        status = load_object(dataset, info->first_object + i, picture, object);
        if (status == DN_OK) picture->object_count++;
    }
    if (status != DN_OK) dn_picture_free(picture);
    return status;
}

dn_status dn_picture_load(const dn_picture_source *source, int64_t index,
                          const dn_shrink_rule *rule, dn_picture *picture)
{
    const int64_t count = dn_dataset_get(source->dataset)->image_count;
    const int64_t tries = count < DN_TRIES ? count : DN_TRIES;
    dn_status status = DN_OK;
    for (int64_t attempt = 0; attempt < tries; attempt++) {
        status = load(source->dataset, index, rule, picture);
        if (status == DN_OK || status == DN_ERROR_MEMORY || source->strict) return status;
        if (source->unusable) source->unusable(source->context, index);
        index = (index + 1) % count;
    }
    return dn_fail_prefix(status, "%lld images one after the other cannot be used",
                          (long long)tries);
}

void dn_picture_free(dn_picture *picture)
{
    for (int32_t i = 0; i < picture->object_count; i++) dn_rle_free(&picture->objects[i].mask);
    dn_free(picture->objects);
    dn_image_free(&picture->image);
    *picture = (dn_picture){0};
}
