/* Data sets: faults, images and objects while they are read. See dataset.h. */
#include "core/memory.h"
#include "core/number.h"
#include "data/dataset.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DN_SENTENCE_SIZE = 512 };

dn_status dn_builder_fault(dn_builder *builder, dn_finding_kind kind, const char *path,
                           int32_t line, const char *format, ...)
{
    char sentence[DN_SENTENCE_SIZE], place[24] = ": ";
    if (line > 0) snprintf(place, sizeof place, ":%d: ", (int)line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    if (builder->sink) {
        const dn_finding finding = {.kind = kind, .path = path, .line = line, .text = sentence};
        builder->sink->report(builder->sink->context, &finding);
    }
    if (builder->source->strict) return dn_fail(DN_ERROR_DATA, "%s%s%s", path, place, sentence);

    dn_dataset *dataset = builder->dataset;
    if (dataset->view.fault_count < DN_FAULTS_KEPT) {
        const char *where = dn_arena_join(&dataset->arena, path, place);
        const char *fault = where ? dn_arena_join(&dataset->arena, where, sentence) : NULL;
        if (!fault) return DN_ERROR_MEMORY;
        dataset->faults[dataset->view.fault_count] = fault;
    }
    dataset->view.fault_count++;
    return DN_OK;
}

dn_status dn_builder_add_image(dn_builder *builder, const dn_dataset_image *image)
{
    dn_dataset_image *images =
        dn_grown(builder->images, builder->image_count, &builder->image_capacity, sizeof *images);
    if (!images) return DN_ERROR_MEMORY;
    builder->images = images;
    images[builder->image_count++] = *image;
    return DN_OK;
}

dn_status dn_builder_add_object(dn_builder *builder, const dn_dataset_object *object, int64_t owner)
{
    const int64_t count = builder->object_count;
    dn_dataset_object *objects =
        dn_grown(builder->objects, count, &builder->object_capacity, sizeof *objects);
    if (!objects) return DN_ERROR_MEMORY;
    builder->objects = objects;
    int64_t *owners = dn_grown(builder->owners, count, &builder->owner_capacity, sizeof *owners);
    if (!owners) return DN_ERROR_MEMORY;
    builder->owners = owners;
    objects[count] = *object;
    owners[count] = owner;
    builder->object_count++;
    return DN_OK;
}

/* ---- masks ---- */

static bool fits_decimals(double value, int decimals)
{
    const double scale = dn_power_of_ten(decimals);
    return fabs(value * scale) < INT32_MAX && (double)llrint(value * scale) / scale == value;
}

/* The fewest decimals that hold every coordinate. What n decimals hold, more do too, unless the
 * scaled integer becomes too large. */
static int count_decimals(const dn_points *points)
{
    int decimals = 0;
    double largest = 0.0;
    for (int64_t i = 0; i < points->count; i++) {
        const double value = points->xy[i];
        if (fabs(value) > largest) largest = fabs(value);
        while (decimals <= DN_DECIMALS_MAX && !fits_decimals(value, decimals)) decimals++;
        if (decimals > DN_DECIMALS_MAX) return DN_EXACT_DOUBLES;
    }
    return largest * dn_power_of_ten(decimals) < INT32_MAX ? decimals : DN_EXACT_DOUBLES;
}

dn_status dn_builder_keep_points(dn_builder *builder, const dn_points *points,
                                 dn_dataset_object *object)
{
    const int decimals = count_decimals(points);
    const bool doubles = decimals == DN_EXACT_DOUBLES;
    const int64_t word_count = points->part_count + points->count * (doubles ? 2 : 1);
    if (points->count > INT32_MAX || points->part_count > INT32_MAX)
        return dn_fail(DN_ERROR_DATA, "an object with %lld coordinates; at most %d are allowed",
                       (long long)points->count, INT32_MAX);
    uint32_t *words = dn_arena_take(&builder->dataset->arena, (size_t)word_count * sizeof *words);
    if (!words) return DN_ERROR_MEMORY;
    object->kind = DN_OBJECT_POLYGONS;
    object->parts = (int32_t)points->part_count;
    object->decimals = (uint8_t)decimals;
    object->words = words;
    object->word_count = word_count;

    const double scale = doubles ? 1.0 : dn_power_of_ten(decimals);
    int64_t i = 0;
    for (int64_t part = 0; part < points->part_count; part++) {
        *words++ = (uint32_t)((points->part_ends[part] - i) / 2);
        for (; i < points->part_ends[part]; i++) {
            if (doubles) {
                memcpy(words, &points->xy[i], sizeof points->xy[i]);
                words += 2;
            } else {
                *words++ = (uint32_t)(int32_t)llrint(points->xy[i] * scale);
            }
        }
    }
    return DN_OK;
}

dn_status dn_builder_keep_rle(dn_builder *builder, const dn_rle *rle, dn_dataset_object *object)
{
    const int64_t word_count = DN_RLE_HEADER + rle->run_count;
    uint32_t *words = dn_arena_take(&builder->dataset->arena, (size_t)word_count * sizeof *words);
    if (!words) return DN_ERROR_MEMORY;
    words[0] = (uint32_t)rle->height;
    words[1] = (uint32_t)rle->width;
    memcpy(words + DN_RLE_HEADER, rle->runs, (size_t)rle->run_count * sizeof *words);
    object->kind = DN_OBJECT_RLE;
    object->words = words;
    object->word_count = word_count;
    return DN_OK;
}

const char *dn_box_fault(const dn_dataset_object *object, double width, double height,
                         dn_finding_kind *kind)
{
    const double *bbox = object->bbox;
    *kind = DN_FINDING_RANGE;
    for (int i = 0; i < 4; i++)
        if (!(fabs(bbox[i]) <= DN_COORDINATE_MAX)) return "its box is absurdly large";
    const bool left_or_above = bbox[0] + bbox[2] <= 0.0 || bbox[1] + bbox[3] <= 0.0;
    const bool right_or_below =
        (width > 0.0 && bbox[0] >= width) || (height > 0.0 && bbox[1] >= height);
    if (bbox[2] > 0.0 && bbox[3] > 0.0)
        return left_or_above || right_or_below ? "its box lies outside the image" : NULL;
    *kind = DN_FINDING_AREA;
    return "its box has no area";
}

/* ---- classes ---- */

dn_status dn_builder_number_classes(dn_builder *builder, int32_t class_count)
{
    dn_dataset *dataset = builder->dataset;
    dn_names names = builder->names;
    if (names.count == 0) {
        names.count = class_count;
        names.items = dn_arena_take(&dataset->arena, (size_t)class_count * sizeof *names.items);
        for (int32_t i = 0; names.items && i < class_count; i++) {
            char number[16];
            snprintf(number, sizeof number, "%d", (int)i);
            names.items[i] = dn_arena_join(&dataset->arena, number, "");
            if (!names.items[i]) return DN_ERROR_MEMORY;
        }
    }
    int64_t *ids = dn_arena_take(&dataset->arena, (size_t)names.count * sizeof *ids);
    if (!names.items || !ids) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < names.count; i++) ids[i] = i + 1;
    dataset->view.names = names.items;
    dataset->view.category_ids = ids;
    dataset->view.class_count = names.count;
    return DN_OK;
}
