/* COCO instances JSON: what becomes of an image, annotation or category once it is read. See
 * coco.h.
 */
#include "core/memory.h"
#include "data/coco.h"
#include "data/path.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DN_POLYGON_NUMBERS = 6, DN_PLACE_SIZE = 64, DN_REASON_SIZE = 256 };

const char *const dn_coco_sections[] = {"", "images", "annotations", "categories"};

/* ---- places ---- */

/* "annotation 17", or its position where the id is not known yet. */
static const char *describe(const dn_coco_reader *reader, char place[DN_PLACE_SIZE])
{
    static const char *const singular[] = {"", "image", "annotation", "category"};
    if (reader->item.has[DN_FIELD_ID])
        snprintf(place, DN_PLACE_SIZE, "%s %lld", singular[reader->section],
                 (long long)reader->item.integers[DN_FIELD_ID]);
    else
        snprintf(place, DN_PLACE_SIZE, "%s[%lld]", dn_coco_sections[reader->section],
                 (long long)reader->item_count);
    return place;
}

/* An item that is complete is placed where it began, other things where they are. */
static int32_t line_of(const dn_coco_reader *reader)
{
    return reader->depth == 2 ? reader->item.line : dn_json_line(reader->json);
}

dn_status dn_coco_wrong(dn_coco_reader *reader, const char *what)
{
    char place[DN_PLACE_SIZE];
    if (reader->section == DN_COCO_OTHER || reader->depth < 2)
        return dn_fail(DN_ERROR_DATA, "%s:%d: %s", reader->coco.path, line_of(reader), what);
    return dn_fail(DN_ERROR_DATA, "%s:%d: %s: %s", reader->coco.path, line_of(reader),
                   describe(reader, place), what);
}

static dn_status fault(dn_coco_reader *reader, dn_finding_kind kind, const char *what)
{
    char place[DN_PLACE_SIZE];
    return dn_builder_fault(reader->coco.builder, kind, reader->coco.path, line_of(reader),
                            "%s: %s", describe(reader, place), what);
}

/* ---- ends ---- */

static dn_status end_image(dn_coco_reader *reader)
{
    dn_coco *coco = &reader->coco;
    const dn_coco_item *item = &reader->item;
    const int64_t *integers = item->integers;
    if (!item->has[DN_FIELD_ID]) return dn_coco_wrong(reader, "it has no id");
    if (!item->has[DN_FIELD_FILE_NAME]) return dn_coco_wrong(reader, "it has no file_name");
    if (dn_path_leaves_folder(reader->text))
        return dn_coco_wrong(reader, "its file_name is absolute or leaves its folder");
    const int64_t width = integers[DN_FIELD_WIDTH], height = integers[DN_FIELD_HEIGHT];
    if (width < 0 || height < 0 || width > INT32_MAX || height > INT32_MAX ||
        width * height > UINT32_MAX)
        return dn_coco_wrong(reader, "its width or height is negative or too large");

    const char *folder = coco->builder->source->images_folder;
    dn_arena *arena = &coco->builder->dataset->arena;
    char *path = folder ? dn_path_join(arena, folder, reader->text)
                        : dn_path_beside(arena, coco->path, reader->text);
    if (!path) return DN_ERROR_MEMORY;
    int32_t *lines = dn_grown(coco->image_lines, coco->builder->image_count,
                              &coco->image_line_capacity, sizeof *lines);
    if (!lines) return DN_ERROR_MEMORY;
    coco->image_lines = lines;
    lines[coco->builder->image_count] = item->line;
    return dn_builder_add_image(
        coco->builder, &(dn_dataset_image){.path = path,
                                           .file_name = path + strlen(path) - strlen(reader->text),
                                           .label_path = coco->path,
                                           .width = (int32_t)width,
                                           .height = (int32_t)height,
                                           .id = integers[DN_FIELD_ID]});
}

static dn_status end_category(dn_coco_reader *reader)
{
    dn_coco *coco = &reader->coco;
    if (!reader->item.has[DN_FIELD_ID]) return dn_coco_wrong(reader, "it has no id");
    if (!reader->item.has[DN_FIELD_NAME]) return dn_coco_wrong(reader, "it has no name");
    if (coco->category_count == DN_CLASSES_MAX) return dn_coco_wrong(reader, "there are too many");
    dn_coco_category *categories = dn_grown(coco->categories, coco->category_count,
                                            &coco->category_capacity, sizeof *categories);
    if (!categories) return DN_ERROR_MEMORY;
    coco->categories = categories;
    const char *name = dn_arena_join(&coco->builder->dataset->arena, reader->text, "");
    if (!name) return DN_ERROR_MEMORY;
    categories[coco->category_count++] =
        (dn_coco_category){.id = reader->item.integers[DN_FIELD_ID], .name = name, .class_id = -1};
    return DN_OK;
}

/* Makes the runs of an RLE segmentation; *kept says whether it could be used. */
static dn_status make_rle(dn_coco_reader *reader, dn_rle *out)
{
    const dn_coco_item *item = &reader->item;
    const int32_t height = (int32_t)item->size[0], width = (int32_t)item->size[1];
    if (item->has[DN_FIELD_COUNTS]) return dn_rle_from_string(out, height, width, reader->text);
    const int64_t count = reader->points.count;
    uint32_t *runs = dn_alloc((size_t)count * sizeof *runs);
    if (!runs) return DN_ERROR_MEMORY;
    for (int64_t i = 0; i < count; i++) runs[i] = (uint32_t)reader->points.xy[i];
    const dn_status status = dn_rle_from_runs(out, height, width, runs, count);
    dn_free(runs);
    return status;
}

/* The mask, and from it what the annotation does not say itself. */
static dn_status end_segmentation(dn_coco_reader *reader, dn_dataset_object *object, bool *kept)
{
    const dn_coco_item *item = &reader->item;
    *kept = true;
    if (!item->rle) {
        if (reader->points.part_count == 0) return DN_OK;
        if (item->bbox_count == 0) dn_points_bounds(&reader->points, object->bbox);
        if (!item->has[DN_FIELD_AREA]) object->area = dn_points_area(&reader->points);
        return dn_builder_keep_points(reader->coco.builder, &reader->points, object);
    }
    dn_rle rle;
    const dn_status made = make_rle(reader, &rle);
    if (made == DN_ERROR_MEMORY) return made;
    if (made != DN_OK) {
        char reason[DN_REASON_SIZE];
        snprintf(reason, sizeof reason, "%s", dn_error_message());
        *kept = false;
        return fault(reader, DN_FINDING_MASK, reason);
    }
    int32_t bounds[4];
    dn_rle_bounds(&rle, bounds);
    for (int i = 0; item->bbox_count == 0 && i < 4; i++) object->bbox[i] = bounds[i];
    if (!item->has[DN_FIELD_AREA]) object->area = (double)dn_rle_area(&rle);
    const dn_status status = dn_builder_keep_rle(reader->coco.builder, &rle, object);
    dn_rle_free(&rle);
    return status;
}

static dn_status end_annotation(dn_coco_reader *reader)
{
    dn_coco *coco = &reader->coco;
    const dn_coco_item *item = &reader->item;
    if (!item->has[DN_FIELD_IMAGE_ID]) return dn_coco_wrong(reader, "it has no image_id");
    if (!item->has[DN_FIELD_CATEGORY_ID]) return dn_coco_wrong(reader, "it has no category_id");
    if (item->rle && item->size_count != 2)
        return dn_coco_wrong(reader, "its RLE has no size of [height, width]");
    const bool masked = item->rle || reader->points.part_count > 0;
    if (!masked && item->bad_part) return DN_OK; /* reported part by part */
    if (!masked && item->bbox_count == 0)
        return fault(reader, DN_FINDING_AREA, "it has neither bbox nor segmentation");

    dn_dataset_object object = {.id = item->has[DN_FIELD_ID] ? item->integers[DN_FIELD_ID]
                                                             : reader->item_count + 1,
                                .line = item->line,
                                .crowd = item->integers[DN_FIELD_CROWD] != 0};
    memcpy(object.bbox, item->bbox, sizeof object.bbox);
    object.area = item->has[DN_FIELD_AREA] ? item->area : item->bbox[2] * item->bbox[3];
    bool kept;
    DN_TRY(end_segmentation(reader, &object, &kept));
    if (!kept) return DN_OK;

    int64_t *ids = dn_grown(coco->category_ids, coco->builder->object_count,
                            &coco->category_id_capacity, sizeof *ids);
    if (!ids) return DN_ERROR_MEMORY;
    coco->category_ids = ids;
    ids[coco->builder->object_count] = item->integers[DN_FIELD_CATEGORY_ID];
    return dn_builder_add_object(coco->builder, &object, item->integers[DN_FIELD_IMAGE_ID]);
}

dn_status dn_coco_end_polygon(dn_coco_reader *reader)
{
    dn_points *points = &reader->points;
    const int64_t start = points->part_count ? points->part_ends[points->part_count - 1] : 0;
    const int64_t count = points->count - start;
    bool absurd = false;
    for (int64_t i = start; i < points->count; i++)
        absurd = absurd || fabs(points->xy[i]) > DN_COORDINATE_MAX;
    if (count >= DN_POLYGON_NUMBERS && count % 2 == 0 && !absurd) return dn_points_end_part(points);
    points->count = start;
    reader->item.bad_part = true;
    char what[DN_REASON_SIZE];
    if (absurd)
        snprintf(what, sizeof what, "a coordinate is beyond +-%d", DN_COORDINATE_MAX);
    else if (count % 2 != 0)
        snprintf(what, sizeof what, "a polygon has an odd number of coordinates, %lld",
                 (long long)count);
    else
        snprintf(what, sizeof what, "a polygon has %lld points, at least 3 are needed",
                 (long long)count / 2);
    return fault(reader, absurd ? DN_FINDING_RANGE : DN_FINDING_POINTS, what);
}

dn_status dn_coco_end_item(dn_coco_reader *reader)
{
    dn_status status = DN_OK;
    switch (reader->section) {
    case DN_COCO_IMAGES:
        status = end_image(reader);
        break;
    case DN_COCO_ANNOTATIONS:
        status = end_annotation(reader);
        break;
    case DN_COCO_CATEGORIES:
        status = end_category(reader);
        break;
    case DN_COCO_OTHER:
    case DN_COCO_SECTIONS:
        break;
    }
    reader->item_count++;
    return status;
}
