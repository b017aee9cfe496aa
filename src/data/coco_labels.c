/* COCO instances JSON: from events to images, objects and categories.
 *
 * The file is an object with the lists "images", "annotations" and "categories"; all else in it is
 * skipped. Handlers are chosen by depth: 1 in the object, 2 in a list, 3 in an item, 4 in a bbox or
 * segmentation, 5 in one polygon or in the size or counts of an RLE. What is not as the format says
 * is an error; what the format allows but cannot be used (a polygon of two points) is a fault.
 * Source: cocodataset.org, "Data format"; limits: DN_JSON_DEPTH_MAX, numbers finite.
 */
#include "core/memory.h"
#include "core/number.h"
#include "data/coco.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DN_WHAT_SIZE = 64 };

/* The value is of no interest: nothing more is heard of it. */
static dn_status skip(dn_coco_reader *reader, const dn_json_event *event)
{
    if (dn_json_opens(event)) reader->skipped = 1;
    return DN_OK;
}

/* ---- depth 0 to 2: the object, its lists ---- */

static dn_status on_top(dn_coco_reader *reader, const dn_json_event *event)
{
    if (event->kind == DN_JSON_MAP_START) return DN_OK;
    return dn_coco_wrong(reader,
                         event->kind == DN_JSON_LIST_START
                             ? "a list, as in a file of results; a COCO instances file is an "
                               "object with \"images\", \"annotations\" and \"categories\""
                             : "a COCO instances file is an object with \"images\", "
                               "\"annotations\" and \"categories\"");
}

static dn_status on_section(dn_coco_reader *reader, const dn_json_event *event)
{
    if (event->kind == DN_JSON_KEY) {
        reader->section = DN_COCO_OTHER;
        for (int i = DN_COCO_IMAGES; i < DN_COCO_SECTIONS; i++)
            if (dn_json_text_is(event, dn_coco_sections[i])) reader->section = (dn_coco_section)i;
        reader->item_count = 0;
        reader->labelme = reader->labelme || dn_json_text_is(event, "shapes");
        return DN_OK;
    }
    if (reader->section == DN_COCO_OTHER) return skip(reader, event);
    if (event->kind == DN_JSON_LIST_START) {
        reader->seen[reader->section] = true;
        return DN_OK;
    }
    char what[DN_WHAT_SIZE];
    snprintf(what, sizeof what, "\"%s\" must be a list", dn_coco_sections[reader->section]);
    return dn_coco_wrong(reader, what);
}

static dn_status on_list(dn_coco_reader *reader, const dn_json_event *event)
{
    reader->item = (dn_coco_item){.line = dn_json_line(reader->json)};
    dn_points_clear(&reader->points);
    if (event->kind == DN_JSON_MAP_START) return DN_OK;
    return dn_coco_wrong(reader, "it must be an object");
}

/* ---- depth 3: fields of an item ---- */

static dn_coco_field find_field(dn_coco_section section, const dn_json_event *event)
{
    static const struct {
        dn_coco_section section;
        dn_coco_field field;
        const char *name;
    } fields[] = {
        {DN_COCO_IMAGES, DN_FIELD_ID, "id"},
        {DN_COCO_IMAGES, DN_FIELD_FILE_NAME, "file_name"},
        {DN_COCO_IMAGES, DN_FIELD_WIDTH, "width"},
        {DN_COCO_IMAGES, DN_FIELD_HEIGHT, "height"},
        {DN_COCO_CATEGORIES, DN_FIELD_ID, "id"},
        {DN_COCO_CATEGORIES, DN_FIELD_NAME, "name"},
        {DN_COCO_ANNOTATIONS, DN_FIELD_ID, "id"},
        {DN_COCO_ANNOTATIONS, DN_FIELD_IMAGE_ID, "image_id"},
        {DN_COCO_ANNOTATIONS, DN_FIELD_CATEGORY_ID, "category_id"},
        {DN_COCO_ANNOTATIONS, DN_FIELD_CROWD, "iscrowd"},
        {DN_COCO_ANNOTATIONS, DN_FIELD_AREA, "area"},
        {DN_COCO_ANNOTATIONS, DN_FIELD_BBOX, "bbox"},
        {DN_COCO_ANNOTATIONS, DN_FIELD_SEGMENTATION, "segmentation"},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].section == section && dn_json_text_is(event, fields[i].name))
            return fields[i].field;
    return DN_FIELD_OTHER;
}

static dn_status take_integer(dn_coco_reader *reader, const dn_json_event *event, const char *name)
{
    int64_t value;
    if (event->kind != DN_JSON_NUMBER || !dn_read_integer(event->text, event->length, &value)) {
        char what[DN_WHAT_SIZE];
        snprintf(what, sizeof what, "its %s must be a whole number", name);
        return dn_coco_wrong(reader, what);
    }
    reader->item.integers[reader->field] = value;
    reader->item.has[reader->field] = true;
    return DN_OK;
}

static dn_status take_text(dn_coco_reader *reader, const dn_json_event *event, dn_coco_field field)
{
    if (event->kind != DN_JSON_STRING || event->length == 0 ||
        memchr(event->text, '\0', event->length))
        return dn_coco_wrong(reader,
                             "its file_name, name or counts must be a text, not empty and without "
                             "zero bytes");
    if ((int64_t)event->length >= reader->text_capacity) {
        const size_t capacity = 2 * event->length + 1;
        char *text = dn_realloc(reader->text, 0, capacity);
        if (!text) return DN_ERROR_MEMORY;
        reader->text = text;
        reader->text_capacity = (int64_t)capacity;
    }
    memcpy(reader->text, event->text, event->length);
    reader->text[event->length] = '\0';
    reader->item.has[field] = true;
    return DN_OK;
}

static dn_status take_crowd(dn_coco_reader *reader, const dn_json_event *event)
{
    const bool number = event->kind == DN_JSON_NUMBER || event->kind == DN_JSON_BOOLEAN;
    if (!number || (event->number != 0.0 && event->number != 1.0))
        return dn_coco_wrong(reader, "its iscrowd must be 0 or 1");
    reader->item.integers[DN_FIELD_CROWD] = event->number != 0.0;
    return DN_OK;
}

static dn_status take_area(dn_coco_reader *reader, const dn_json_event *event)
{
    if (event->kind != DN_JSON_NUMBER) return dn_coco_wrong(reader, "its area must be a number");
    reader->item.area = event->number;
    reader->item.has[DN_FIELD_AREA] = true;
    return DN_OK;
}

static dn_status take_segmentation(dn_coco_reader *reader, const dn_json_event *event)
{
    reader->item.rle = event->kind == DN_JSON_MAP_START;
    reader->rle_field = DN_FIELD_OTHER;
    dn_points_clear(&reader->points);
    if (dn_json_opens(event) || event->kind == DN_JSON_NULL) return DN_OK;
    return dn_coco_wrong(reader, "its segmentation must be a list of polygons or an RLE object");
}

static dn_status on_item(dn_coco_reader *reader, const dn_json_event *event)
{
    if (event->kind == DN_JSON_KEY) {
        reader->field = find_field(reader->section, event);
        return DN_OK;
    }
    switch (reader->field) {
    case DN_FIELD_ID:
        return take_integer(reader, event, "id");
    case DN_FIELD_IMAGE_ID:
        return take_integer(reader, event, "image_id");
    case DN_FIELD_CATEGORY_ID:
        return take_integer(reader, event, "category_id");
    case DN_FIELD_WIDTH:
        return take_integer(reader, event, "width");
    case DN_FIELD_HEIGHT:
        return take_integer(reader, event, "height");
    case DN_FIELD_FILE_NAME:
    case DN_FIELD_NAME:
        return take_text(reader, event, reader->field);
    case DN_FIELD_CROWD:
        return take_crowd(reader, event);
    case DN_FIELD_AREA:
        return take_area(reader, event);
    case DN_FIELD_BBOX:
        reader->item.bbox_count = 0;
        if (event->kind == DN_JSON_LIST_START || event->kind == DN_JSON_NULL) return DN_OK;
        return dn_coco_wrong(reader, "its bbox must be a list of 4 numbers");
    case DN_FIELD_SEGMENTATION:
        return take_segmentation(reader, event);
    case DN_FIELD_SIZE:
    case DN_FIELD_COUNTS:
    case DN_FIELDS:
    case DN_FIELD_OTHER:
        break;
    }
    return skip(reader, event);
}

/* ---- depth 4 and 5: boxes, polygons, RLEs ---- */

static dn_status on_rle(dn_coco_reader *reader, const dn_json_event *event)
{
    if (event->kind == DN_JSON_KEY) {
        reader->rle_field = dn_json_text_is(event, "size")     ? DN_FIELD_SIZE
                            : dn_json_text_is(event, "counts") ? DN_FIELD_COUNTS
                                                               : DN_FIELD_OTHER;
        return DN_OK;
    }
    if (reader->rle_field == DN_FIELD_OTHER) return skip(reader, event);
    if (reader->rle_field == DN_FIELD_COUNTS && event->kind == DN_JSON_STRING)
        return take_text(reader, event, DN_FIELD_COUNTS);
    if (event->kind != DN_JSON_LIST_START)
        return dn_coco_wrong(reader,
                             "its RLE needs a size [height, width] and counts, a text or a list");
    if (reader->rle_field == DN_FIELD_SIZE) reader->item.size_count = 0;
    return DN_OK;
}

static dn_status on_parts(dn_coco_reader *reader, const dn_json_event *event)
{
    dn_coco_item *item = &reader->item;
    if (reader->field == DN_FIELD_BBOX) {
        if (event->kind != DN_JSON_NUMBER || item->bbox_count == 4)
            return dn_coco_wrong(reader, "its bbox must be a list of 4 numbers");
        item->bbox[item->bbox_count++] = event->number;
        return DN_OK;
    }
    if (item->rle) return on_rle(reader, event);
    if (event->kind == DN_JSON_LIST_START) return DN_OK;
    return dn_coco_wrong(reader,
                         "its segmentation must be a list of polygons, each a list of numbers");
}

static dn_status on_numbers(dn_coco_reader *reader, const dn_json_event *event)
{
    dn_coco_item *item = &reader->item;
    if (event->kind != DN_JSON_NUMBER)
        return dn_coco_wrong(reader, "its segmentation holds something that is not a number");
    if (!item->rle) return dn_points_add(&reader->points, event->number);
    const double value = event->number;
    const bool size = reader->rle_field == DN_FIELD_SIZE;
    const double limit = size ? INT32_MAX : UINT32_MAX;
    if (!(value >= 0.0 && value <= limit && value == floor(value)))
        return dn_coco_wrong(reader, "its RLE holds a number that is not a count of pixels");
    if (!size) return dn_points_add(&reader->points, value);
    if (item->size_count == 2) return dn_coco_wrong(reader, "its RLE size must be [height, width]");
    item->size[item->size_count++] = (int64_t)value;
    return DN_OK;
}

/* ---- events ---- */

static dn_status on_end(dn_coco_reader *reader)
{
    reader->depth--;
    const bool annotation = reader->section == DN_COCO_ANNOTATIONS;
    if (reader->depth == 2) return dn_coco_end_item(reader);
    if (reader->depth == 3 && annotation && reader->field == DN_FIELD_BBOX &&
        reader->item.bbox_count % 4 != 0)
        return dn_coco_wrong(reader, "its bbox must be a list of 4 numbers");
    if (reader->depth == 4 && annotation && !reader->item.rle) return dn_coco_end_polygon(reader);
    return DN_OK;
}

static dn_status on_event(void *context, dn_json_reader *json, const dn_json_event *event)
{
    static dn_status (*const handlers[])(dn_coco_reader *, const dn_json_event *) = {
        on_top, on_section, on_list, on_item, on_parts, on_numbers};
    dn_coco_reader *reader = context;
    reader->json = json;
    const bool ends = event->kind == DN_JSON_MAP_END || event->kind == DN_JSON_LIST_END;
    if (reader->skipped > 0) {
        reader->skipped += dn_json_opens(event) - ends;
        return DN_OK;
    }
    if (ends) return on_end(reader);
    DN_TRY(handlers[reader->depth](reader, event));
    if (dn_json_opens(event) && reader->skipped == 0) reader->depth++;
    return DN_OK;
}

static dn_status read_all(dn_coco_reader *reader)
{
    DN_TRY(dn_json_read(reader->coco.path, on_event, reader));
    for (int i = DN_COCO_IMAGES; i < DN_COCO_SECTIONS; i++)
        if (!reader->seen[i])
            return dn_fail(DN_ERROR_DATA, "%s: has no \"%s\": it is not a COCO instances file%s",
                           reader->coco.path, dn_coco_sections[i],
                           reader->labelme ? "; of LabelMe files name the folder" : "");
    return dn_coco_resolve(&reader->coco);
}

dn_status dn_read_coco(dn_builder *builder)
{
    dn_coco_reader reader = {.coco = {.builder = builder}};
    reader.coco.path = dn_arena_join(&builder->dataset->arena, builder->source->path, "");
    const dn_status status = reader.coco.path ? read_all(&reader) : DN_ERROR_MEMORY;
    dn_free(reader.coco.categories);
    dn_free(reader.coco.image_lines);
    dn_free(reader.coco.category_ids);
    dn_free(reader.text);
    dn_points_free(&reader.points);
    return status;
}
