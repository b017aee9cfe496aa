/* COCO instances JSON: from ids to indices, once the whole file is read. See coco.h.
 *
 * Classes: with a list of names a category is the name it has, whatever its id; without one the
 * classes are the categories by ascending id.
 */
#include "core/memory.h"
#include "data/coco.h"
#include "data/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct dn_id {
    int64_t id, index;
} dn_id;

static int compare_ids(const void *left, const void *right)
{
    const dn_id *a = left, *b = right;
    if (a->id != b->id) return a->id < b->id ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static int compare_categories(const void *left, const void *right)
{
    const dn_coco_category *a = left, *b = right;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Index of the id, -1: not there. */
static int64_t find_id(const dn_id *ids, int64_t count, int64_t id)
{
    int64_t low = 0, high = count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (ids[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && ids[low].id == id ? ids[low].index : -1;
}

static dn_coco_category *find_category(dn_coco *coco, int64_t id)
{
    const dn_coco_category key = {.id = id};
    if (coco->category_count == 0) return NULL;
    return bsearch(&key, coco->categories, (size_t)coco->category_count, sizeof key,
                   compare_categories);
}

/* ---- classes ---- */

/* Darknet's coco.names spells six of COCO's names in VOC's way: they mean the same. */
static const char *other_spelling(const char *name)
{
    static const char *const pairs[][2] = {
        {"motorcycle", "motorbike"},     {"airplane", "aeroplane"},       {"couch", "sofa"},
        {"potted plant", "pottedplant"}, {"dining table", "diningtable"}, {"tv", "tvmonitor"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        for (int side = 0; side < 2; side++)
            if (strcmp(name, pairs[i][side]) == 0) return pairs[i][1 - side];
    return NULL;
}

static int32_t find_name(const dn_names *names, const char *name)
{
    for (int32_t i = 0; name && i < names->count; i++)
        if (strcmp(names->items[i], name) == 0) return i;
    return -1;
}

static dn_status name_classes(dn_coco *coco)
{
    dn_builder *builder = coco->builder;
    const int32_t wanted = builder->source->classes;
    qsort(coco->categories, (size_t)coco->category_count, sizeof *coco->categories,
          compare_categories);
    for (int64_t i = 1; i < coco->category_count; i++)
        if (coco->categories[i].id == coco->categories[i - 1].id)
            return dn_fail(DN_ERROR_DATA, "%s: category %lld is there twice", coco->path,
                           (long long)coco->categories[i].id);
    if (builder->names.count > 0) {
        for (int64_t i = 0; i < coco->category_count; i++) {
            dn_coco_category *category = &coco->categories[i];
            category->class_id = find_name(&builder->names, category->name);
            if (category->class_id < 0)
                category->class_id = find_name(&builder->names, other_spelling(category->name));
        }
        return DN_OK;
    }
    if (wanted > 0 && wanted != coco->category_count)
        return dn_fail(DN_ERROR_DATA,
                       "%s: has %lld categories, but classes=%d; give names= (a file of class "
                       "names), so that categories map by name",
                       coco->path, (long long)coco->category_count, (int)wanted);
    const char **names =
        dn_arena_take(&builder->dataset->arena, (size_t)coco->category_count * sizeof *names);
    if (!names) return DN_ERROR_MEMORY;
    for (int64_t i = 0; i < coco->category_count; i++) {
        names[i] = coco->categories[i].name;
        coco->categories[i].class_id = (int32_t)i;
    }
    builder->names = (dn_names){names, (int32_t)coco->category_count};
    return DN_OK;
}

/* Publishes names and category ids. */
static dn_status finish_classes(dn_coco *coco)
{
    dn_builder *builder = coco->builder;
    DN_TRY(dn_builder_number_classes(builder, 0));
    const int32_t class_count = builder->names.count;
    int64_t *ids = dn_arena_take(&builder->dataset->arena, (size_t)class_count * sizeof *ids);
    if (!ids) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < class_count; i++) ids[i] = -1;
    for (int64_t i = 0; i < coco->category_count; i++)
        if (coco->categories[i].class_id >= 0)
            ids[coco->categories[i].class_id] = coco->categories[i].id;
    builder->dataset->view.category_ids = ids;
    return DN_OK;
}

/* Fails when categories with annotations have no class, and lists them. */
static dn_status check_names(const dn_coco *coco)
{
    char list[400] = "";
    size_t length = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < coco->category_count; i++) {
        const dn_coco_category *category = &coco->categories[i];
        if (!category->used || category->class_id >= 0) continue;
        const int written = snprintf(list + length, sizeof list - length, "%s\"%.60s\"",
                                     count ? ", " : "", category->name);
        if (written > 0) length += (size_t)written;
        if (length >= sizeof list) length = sizeof list - 1;
        count++;
    }
    if (count == 0) return DN_OK;
    return dn_fail(DN_ERROR_DATA, "%s: %lld categories with annotations are not named in %s: %s",
                   coco->path, (long long)count, coco->builder->source->names, list);
}

/* ---- images and annotations ---- */

static dn_status check_images(const dn_coco *coco, const dn_id *ids)
{
    const dn_builder *builder = coco->builder;
    const int64_t count = builder->image_count;
    for (int64_t i = 1; i < count; i++)
        if (ids[i].id == ids[i - 1].id)
            return dn_fail(DN_ERROR_DATA, "%s:%d: image %lld is there twice (first in line %d)",
                           coco->path, (int)coco->image_lines[ids[i].index], (long long)ids[i].id,
                           (int)coco->image_lines[ids[i - 1].index]);
    const char *folder = builder->source->images_folder;
    if (!folder || count == 0 || builder->sink) return DN_OK; /* a sink wants all of them */
    if (!dn_path_is_folder(folder))
        return dn_fail(DN_ERROR_IO, "%s: there is no such folder of images", folder);
    if (!dn_path_exists(builder->images[0].path))
        return dn_fail(DN_ERROR_DATA, "%s:%d: image %lld is not there: %s", coco->path,
                       (int)coco->image_lines[0], (long long)builder->images[0].id,
                       builder->images[0].path);
    return DN_OK;
}

/* What is wrong with an object in its image, or NULL. */
static const char *object_fault(const dn_dataset_object *object, const dn_dataset_image *image,
                                dn_finding_kind *kind)
{
    *kind = DN_FINDING_SIZE;
    if (object->kind == DN_OBJECT_RLE && image->width > 0 && image->height > 0 &&
        (object->words[0] != (uint32_t)image->height || object->words[1] != (uint32_t)image->width))
        return "the size of its RLE is not that of its image";
    return dn_box_fault(object, image->width, image->height, kind);
}

static dn_status resolve_object(dn_coco *coco, const dn_id *ids, int64_t index)
{
    dn_builder *builder = coco->builder;
    dn_dataset_object *object = &builder->objects[index];
    const int64_t image_id = builder->owners[index];
    const int64_t image = find_id(ids, builder->image_count, image_id);
    builder->owners[index] = -1;
    if (image < 0) /* somebody removed the image and left its annotations */
        return dn_builder_fault(builder, DN_FINDING_ORPHAN, coco->path, object->line,
                                "annotation %lld: its image_id %lld is none of the images",
                                (long long)object->id, (long long)image_id);
    dn_coco_category *category = find_category(coco, coco->category_ids[index]);
    if (!category)
        return dn_builder_fault(builder, DN_FINDING_CLASS, coco->path, object->line,
                                "annotation %lld: its category_id %lld is none of the categories",
                                (long long)object->id, (long long)coco->category_ids[index]);
    dn_finding_kind kind;
    const char *fault = object_fault(object, &builder->images[image], &kind);
    if (fault)
        return dn_builder_fault(builder, kind, coco->path, object->line, "annotation %lld: %s",
                                (long long)object->id, fault);
    category->used = true;
    object->class_id = category->class_id;
    builder->owners[index] = image;
    return DN_OK;
}

dn_status dn_coco_resolve(dn_coco *coco)
{
    dn_builder *builder = coco->builder;
    DN_TRY(name_classes(coco));
    dn_id *ids = dn_alloc((size_t)builder->image_count * sizeof *ids);
    if (!ids) return DN_ERROR_MEMORY;
    for (int64_t i = 0; i < builder->image_count; i++) ids[i] = (dn_id){builder->images[i].id, i};
    qsort(ids, (size_t)builder->image_count, sizeof *ids, compare_ids);
    dn_status status = check_images(coco, ids);
    for (int64_t i = 0; status == DN_OK && i < builder->object_count; i++)
        status = resolve_object(coco, ids, i);
    dn_free(ids);
    if (status == DN_OK) status = check_names(coco);
    return status == DN_OK ? finish_classes(coco) : status;
}
