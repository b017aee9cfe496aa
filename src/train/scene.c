/* Scenes: see scene.h. */
#include "train/scene.h"

#include "core/memory.h"
#include "data/geometry.h"

enum { DN_TRIES = 100 }; /* images one after the other that cannot be used */

static dn_status load_object(const dn_dataset *dataset, int64_t image, int64_t index,
                             const dn_image *pixels, dn_scene_object *out)
{
    const dn_dataset_object *object = &dn_dataset_get(dataset)->objects[index];
    *out = (dn_scene_object){
        .box = dn_dataset_box(object, pixels->width, pixels->height),
        .class_id = object->class_id,
        .crowd = object->crowd,
    };
    out->size = dn_box_area(out->box);
    if (object->kind == DN_OBJECT_BOX) return DN_OK;
    DN_TRY(dn_dataset_mask(dataset, image, index, pixels->width, pixels->height, &out->mask));
    out->size = (float)dn_rle_area(&out->mask);
    return DN_OK;
}

static dn_status load(const dn_dataset *dataset, int64_t index, dn_scene *scene)
{
    const dn_dataset_image *info = &dn_dataset_get(dataset)->images[index];
    *scene = (dn_scene){.index = index};
    DN_TRY(dn_image_load(info->path, &scene->image));
    scene->objects = dn_alloc((size_t)info->object_count * sizeof *scene->objects);
    dn_status status = scene->objects ? DN_OK : DN_ERROR_MEMORY;
    for (int64_t i = 0; i < info->object_count && status == DN_OK; i++) {
        dn_scene_object *object = &scene->objects[scene->object_count];
        status = load_object(dataset, index, info->first_object + i, &scene->image, object);
        if (status == DN_OK) scene->object_count++;
    }
    if (status != DN_OK) dn_scene_free(scene);
    return status;
}

dn_status dn_scene_load(const dn_scene_source *source, int64_t index, dn_scene *scene)
{
    const int64_t count = dn_dataset_get(source->dataset)->image_count;
    const int64_t tries = count < DN_TRIES ? count : DN_TRIES;
    dn_status status = DN_OK;
    for (int64_t attempt = 0; attempt < tries; attempt++) {
        status = load(source->dataset, index, scene);
        if (status == DN_OK || status == DN_ERROR_MEMORY || source->strict) return status;
        if (source->unusable) source->unusable(source->context, index);
        index = (index + 1) % count;
    }
    return dn_fail_prefix(status, "%lld images one after the other cannot be used",
                          (long long)tries);
}

void dn_scene_free(dn_scene *scene)
{
    for (int32_t i = 0; i < scene->object_count; i++) dn_rle_free(&scene->objects[i].mask);
    dn_free(scene->objects);
    dn_image_free(&scene->image);
    *scene = (dn_scene){0};
}
