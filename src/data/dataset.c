/* Data sets: loading from whatever the source is, and reading what was loaded. See dataset.h. */
#include "data/dataset.h"

#include "core/memory.h"
#include "core/number.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- loading ---- */

typedef enum dn_source_kind { DN_SOURCE_LIST, DN_SOURCE_FOLDER, DN_SOURCE_JSON } dn_source_kind;

/* What the source is, by what it holds: JSON begins with a bracket, which no list does. */
static dn_status recognise(const char *path, dn_source_kind *out)
{
    struct stat info;
    FILE *file = fopen(path, "rb");
    if (!file) return dn_fail(DN_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    const bool folder = fstat(fileno(file), &info) == 0 && S_ISDIR(info.st_mode);
    int character = EOF;
    if (!folder) {
        do {
            character = fgetc(file);
        } while (character != EOF && strchr(" \t\r\n\xEF\xBB\xBF", character));
    }
    fclose(file);
    if (!folder && character == EOF) return dn_fail(DN_ERROR_DATA, "%s: is empty", path);
    *out = folder                                 ? DN_SOURCE_FOLDER
           : character == '{' || character == '[' ? DN_SOURCE_JSON
                                                  : DN_SOURCE_LIST;
    return DN_OK;
}

static dn_status check_source(const dn_dataset_source *source, dn_source_kind kind)
{
    if (kind == DN_SOURCE_JSON && source->masks_folder)
        return dn_fail(DN_ERROR_CONFIG,
                       "%s: a COCO JSON brings its own masks; a folder of mask images (%s) goes "
                       "with an image list",
                       source->path, source->masks_folder);
    if (kind != DN_SOURCE_JSON && source->images_folder)
        return dn_fail(DN_ERROR_CONFIG,
                       "%s: an images folder (%s) goes with a COCO JSON; a list names its images "
                       "itself",
                       source->path, source->images_folder);
    if (kind == DN_SOURCE_JSON && source->labels)
        return dn_fail(DN_ERROR_CONFIG,
                       "%s: a classifier's images are an image list or a folder, not a JSON",
                       source->path);
    if (source->classes < 0 || source->classes > DN_CLASSES_MAX)
        return dn_fail(DN_ERROR_CONFIG, "%s: classes=%d is out of range 0..%d", source->path,
                       (int)source->classes, DN_CLASSES_MAX);
    return DN_OK;
}

static dn_status read_source(dn_builder *builder)
{
    const dn_dataset_source *source = builder->source;
    dn_source_kind kind;
    DN_TRY(recognise(source->path, &kind));
    DN_TRY(check_source(source, kind));
    if (source->labels) return dn_read_class_list(builder, kind == DN_SOURCE_FOLDER);
    if (source->names) {
        DN_TRY(dn_names_read(source->names, &builder->dataset->arena, &builder->names));
        if (source->classes > 0 && source->classes != builder->names.count)
            return dn_fail(DN_ERROR_CONFIG, "%s: holds %d class names, but classes=%d",
                           source->names, (int)builder->names.count, (int)source->classes);
    }
    if (kind == DN_SOURCE_JSON) return dn_read_coco(builder);
    DN_TRY(kind == DN_SOURCE_FOLDER ? dn_read_image_folder(builder) : dn_read_image_list(builder));
    return source->masks_folder ? dn_read_mask_folder(builder) : dn_read_label_files(builder);
}

/* Moves images and objects into the data set, objects grouped by image in their old order. */
static dn_status group_objects(dn_builder *builder)
{
    dn_dataset_image *images = builder->images;
    int64_t kept = 0;
    for (int64_t i = 0; i < builder->object_count; i++)
        if (builder->owners[i] >= 0) images[builder->owners[i]].object_count++;
    for (int64_t i = 0; i < builder->image_count; i++) {
        images[i].first_object = kept;
        kept += images[i].object_count;
        images[i].object_count = 0;
    }
    dn_dataset_object *objects = dn_alloc((size_t)kept * sizeof *objects);
    if (!objects) return DN_ERROR_MEMORY;
    for (int64_t i = 0; i < builder->object_count; i++) {
        if (builder->owners[i] < 0) continue;
        dn_dataset_image *image = &images[builder->owners[i]];
        objects[image->first_object + image->object_count++] = builder->objects[i];
    }
    dn_dataset_view *view = &builder->dataset->view;
    view->images = images;
    view->image_count = builder->image_count;
    view->objects = objects;
    view->object_count = kept;
    view->faults = builder->dataset->faults;
    builder->images = NULL;
    return DN_OK;
}

dn_status dn_dataset_load_reporting(const dn_dataset_source *source, const dn_finding_sink *sink,
                                    dn_dataset **out)
{
    if (!source->path) return dn_fail(DN_ERROR_ARGUMENT, "data set: no path was given");
    dn_builder builder = {
        .source = source, .sink = sink, .dataset = dn_alloc(sizeof *builder.dataset)};
    if (!builder.dataset) return DN_ERROR_MEMORY;
    dn_status status = read_source(&builder);
    if (status == DN_OK) status = group_objects(&builder);
    dn_free(builder.images);
    dn_free(builder.objects);
    dn_free(builder.owners);
    if (status != DN_OK) {
        dn_dataset_free(builder.dataset);
        return status;
    }
    *out = builder.dataset;
    return DN_OK;
}

dn_status dn_dataset_load(const dn_dataset_source *source, dn_dataset **out)
{
    return dn_dataset_load_reporting(source, NULL, out);
}

void dn_dataset_free(dn_dataset *dataset)
{
    if (!dataset) return;
    dn_free((void *)dataset->view.images);
    dn_free((void *)dataset->view.objects);
    dn_arena_free(&dataset->arena);
    dn_free(dataset);
}

/* ---- reading ---- */

const dn_dataset_view *dn_dataset_get(const dn_dataset *dataset)
{
    return &dataset->view;
}

dn_box dn_dataset_box(const dn_dataset_object *object, int32_t width, int32_t height)
{
    const double *bbox = object->bbox;
    const double x_scale = object->fractions ? width : 1.0;
    const double y_scale = object->fractions ? height : 1.0;
    return (dn_box){(float)(bbox[0] * x_scale), (float)(bbox[1] * y_scale),
                    (float)((bbox[0] + bbox[2]) * x_scale), (float)((bbox[1] + bbox[3]) * y_scale)};
}

static dn_status check_object(const dn_dataset *dataset, int64_t object, dn_object_kind kind)
{
    static const char *const kinds[] = {"a box", "polygons", "runs"};
    const dn_dataset_view *view = &dataset->view;
    if (object < 0 || object >= view->object_count)
        return dn_fail(DN_ERROR_ARGUMENT, "data set: object %lld of %lld", (long long)object,
                       (long long)view->object_count);
    if (view->objects[object].kind != kind)
        return dn_fail(DN_ERROR_ARGUMENT, "data set: object %lld is labelled by %s, not by %s",
                       (long long)object, kinds[view->objects[object].kind], kinds[kind]);
    return DN_OK;
}

/* Copies one part's points; returns the words behind them. */
static const uint32_t *read_part(const dn_dataset_object *object, const uint32_t *words,
                                 int64_t coordinates, double *xy)
{
    if (object->decimals == DN_EXACT_DOUBLES) {
        memcpy(xy, words, (size_t)coordinates * sizeof *xy);
        return words + 2 * coordinates;
    }
    const double scale = dn_power_of_ten(object->decimals);
    for (int64_t i = 0; i < coordinates; i++) xy[i] = (double)(int32_t)words[i] / scale;
    return words + coordinates;
}

dn_status dn_dataset_polygons(const dn_dataset *dataset, int64_t object, double **xy,
                              int64_t **counts)
{
    DN_TRY(check_object(dataset, object, DN_OBJECT_POLYGONS));
    const dn_dataset_object *polygons = &dataset->view.objects[object];
    int64_t coordinates = polygons->word_count - polygons->parts;
    if (polygons->decimals == DN_EXACT_DOUBLES) coordinates /= 2;
    double *points = dn_alloc((size_t)coordinates * sizeof *points);
    int64_t *point_counts = dn_alloc((size_t)polygons->parts * sizeof *point_counts);
    if (!points || !point_counts) {
        dn_free(points);
        dn_free(point_counts);
        return DN_ERROR_MEMORY;
    }
    const uint32_t *words = polygons->words;
    double *next = points;
    for (int32_t part = 0; part < polygons->parts; part++) {
        point_counts[part] = *words++;
        words = read_part(polygons, words, 2 * point_counts[part], next);
        next += 2 * point_counts[part];
    }
    *xy = points;
    *counts = point_counts;
    return DN_OK;
}

static dn_status draw_polygons(const dn_dataset *dataset, int64_t object, int32_t width,
                               int32_t height, dn_rle *out)
{
    const dn_dataset_object *polygons = &dataset->view.objects[object];
    double *xy = NULL;
    int64_t *counts = NULL;
    DN_TRY(dn_dataset_polygons(dataset, object, &xy, &counts));
    const double **rings = dn_alloc((size_t)polygons->parts * sizeof *rings);
    dn_status status = rings ? DN_OK : DN_ERROR_MEMORY;
    if (rings) {
        double *next = xy;
        for (int32_t part = 0; part < polygons->parts; part++) {
            rings[part] = next;
            for (int64_t i = 0; polygons->fractions && i < 2 * counts[part]; i++)
                next[i] *= i % 2 == 0 ? width : height;
            next += 2 * counts[part];
        }
        status = dn_rle_from_polygons(out, rings, counts, polygons->parts, height, width);
    }
    dn_free(rings);
    dn_free(counts);
    dn_free(xy);
    return status;
}

dn_status dn_dataset_mask(const dn_dataset *dataset, int64_t image, int64_t object, int32_t width,
                          int32_t height, dn_rle *out)
{
    const dn_dataset_view *view = &dataset->view;
    if (image < 0 || image >= view->image_count)
        return dn_fail(DN_ERROR_ARGUMENT, "data set: image %lld of %lld", (long long)image,
                       (long long)view->image_count);
    const dn_dataset_image *owner = &view->images[image];
    if (object < owner->first_object || object >= owner->first_object + owner->object_count)
        return dn_fail(DN_ERROR_ARGUMENT, "data set: object %lld is not one of image %lld",
                       (long long)object, (long long)image);
    if ((owner->width > 0 && owner->width != width) ||
        (owner->height > 0 && owner->height != height))
        return dn_fail(DN_ERROR_DATA, "%s: is %d x %d (width x height), but %s says %d x %d",
                       owner->path, (int)width, (int)height, owner->label_path, (int)owner->width,
                       (int)owner->height);

    const dn_dataset_object *item = &view->objects[object];
    if (item->kind == DN_OBJECT_POLYGONS) return draw_polygons(dataset, object, width, height, out);
    DN_TRY(check_object(dataset, object, DN_OBJECT_RLE));
    if (item->words[0] != (uint32_t)height || item->words[1] != (uint32_t)width)
        return dn_fail(DN_ERROR_DATA,
                       "%s: is %d x %d (width x height), but its runs in %s are for %u x %u",
                       owner->path, (int)width, (int)height, owner->label_path, item->words[1],
                       item->words[0]);
    return dn_rle_from_runs(out, height, width, item->words + DN_RLE_HEADER,
                            item->word_count - DN_RLE_HEADER);
}
