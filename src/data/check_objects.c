/* `check`: the objects of an image. See check.h.
 *
 * An object twice: two masks (or boxes, where one has no mask) that share nine tenths of their
 * union. Coordinates may leave the image by one pixel, since exporters round.
 */
#include "core/memory.h"
#include "data/check.h"

#include <stdio.h>
#include <string.h>

enum { DN_SMALL_SIDE = 3, DN_NAME_SIZE = 96 };

static const double dn_twice_overlap = 0.9, dn_outside_pixels = 1.0;

typedef struct dn_object_check {
    const dn_dataset *dataset;
    const dn_dataset_view *view;
    const dn_dataset_image *image;
    int64_t image_index;
    const dn_checked_image *file;
    dn_finding_list *findings;
    dn_rle *masks; /* (object_count); runs NULL: none */
} dn_object_check;

/* "annotation 17 (dog)" of a COCO JSON, "object (dog)" of files whose line tells which, "object (0)
 * at (x, y)" of those without lines. */
static const char *describe(const dn_object_check *check, const dn_dataset_object *object,
                            char name[DN_NAME_SIZE])
{
    const dn_dataset_view *view = check->view;
    const bool shared = view->image_count > 1 &&
                        strcmp(view->images[0].label_path, view->images[1].label_path) == 0;
    const char *class_name = object->class_id >= 0 && object->class_id < view->class_count
                                 ? view->names[object->class_id]
                                 : "?";
    if (shared)
        snprintf(name, DN_NAME_SIZE, "annotation %lld (%.60s)", (long long)object->id, class_name);
    else if (object->line == 0)
        snprintf(name, DN_NAME_SIZE, "object (%.40s) at (%.0f, %.0f)", class_name, object->bbox[0],
                 object->bbox[1]);
    else
        snprintf(name, DN_NAME_SIZE, "object (%.60s)", class_name);
    return name;
}

/* Adds a finding about an object: DN_REPORT(check, object, kind, format, ...). */
#define DN_REPORT(check, object, kind, format, ...)                                                \
    dn_finding_add((check)->findings, kind, (check)->image->label_path, (object)->line,            \
                   "%s: " format, describe(check, object, (char[DN_NAME_SIZE]){0}), __VA_ARGS__)

static bool leaves(double value, double end)
{
    return value < -dn_outside_pixels || value > end + dn_outside_pixels;
}

/* ---- outlines ---- */

static dn_status check_ring(const dn_object_check *check, const dn_dataset_object *object,
                            const double *xy, int64_t count)
{
    const dn_checked_image *file = check->file;
    for (int64_t i = 0; i < count; i++) {
        if (!leaves(xy[2 * i], file->width) && !leaves(xy[2 * i + 1], file->height)) continue;
        DN_TRY(DN_REPORT(check, object, DN_FINDING_RANGE,
                         "its point (%.6g, %.6g) lies outside the image of %d x %d", xy[2 * i],
                         xy[2 * i + 1], (int)file->width, (int)file->height));
        break;
    }
    dn_ring_verdict verdict;
    double point[2];
    DN_TRY(dn_ring_crossing(xy, count, &verdict, point));
    if (verdict == DN_RING_SIMPLE) return DN_OK;
    if (verdict == DN_RING_UNKNOWN)
        return DN_REPORT(check, object, DN_FINDING_CROSSING,
                         "its outline has %lld points whose edges lie side by side: too many to "
                         "tell whether it crosses itself",
                         (long long)count);
    return DN_REPORT(check, object, DN_FINDING_CROSSING,
                     "its outline crosses itself at (%.1f, %.1f)", point[0], point[1]);
}

static dn_status check_polygons(const dn_object_check *check, const dn_dataset_object *object)
{
    double *xy = NULL;
    int64_t *counts = NULL;
    DN_TRY(dn_dataset_polygons(check->dataset, object - check->view->objects, &xy, &counts));
    dn_status status = DN_OK;
    double *ring = xy;
    for (int32_t part = 0; part < object->parts && status == DN_OK; part++) {
        for (int64_t i = 0; object->fractions && i < 2 * counts[part]; i++)
            ring[i] *= i % 2 == 0 ? check->file->width : check->file->height;
        status = check_ring(check, object, ring, counts[part]);
        ring += 2 * counts[part];
    }
    dn_free(xy);
    dn_free(counts);
    return status;
}

/* ---- boxes and masks ---- */

static dn_status check_box(const dn_object_check *check, const dn_dataset_object *object)
{
    const dn_checked_image *file = check->file;
    const dn_box box = dn_dataset_box(object, file->width, file->height);
    if (object->kind != DN_OBJECT_POLYGONS &&
        (leaves((double)box.x0, file->width) || leaves((double)box.x1, file->width) ||
         leaves((double)box.y0, file->height) || leaves((double)box.y1, file->height)))
        DN_TRY(DN_REPORT(check, object, DN_FINDING_RANGE,
                         "its box (%.6g, %.6g)-(%.6g, %.6g) leaves the image of %d x %d",
                         (double)box.x0, (double)box.y0, (double)box.x1, (double)box.y1,
                         (int)file->width, (int)file->height));
    const double width = (double)(box.x1 - box.x0), height = (double)(box.y1 - box.y0);
    if (width >= DN_SMALL_SIDE && height >= DN_SMALL_SIDE) return DN_OK;
    return DN_REPORT(check, object, DN_FINDING_SMALL, "is only %.3g x %.3g pixels", width, height);
}

/* The mask, where there is one and the size of the image is right. */
static dn_status check_mask(const dn_object_check *check, const dn_dataset_object *object,
                            dn_rle *mask)
{
    if (object->kind == DN_OBJECT_BOX) return DN_OK;
    const dn_status status =
        dn_dataset_mask(check->dataset, check->image_index, object - check->view->objects,
                        check->file->width, check->file->height, mask);
    if (status != DN_OK) return status == DN_ERROR_MEMORY ? status : DN_OK; /* a size: reported */
    if (dn_rle_area(mask) > 0) return DN_OK;
    return DN_REPORT(check, object, DN_FINDING_AREA, "its mask covers %s", "no pixel");
}

static dn_status overlap_of(const dn_object_check *check, int64_t first, int64_t second,
                            double *out)
{
    const dn_dataset_object *objects = check->view->objects + check->image->first_object;
    const dn_rle *masks = check->masks;
    const dn_box a = dn_dataset_box(&objects[first], check->file->width, check->file->height);
    const dn_box b = dn_dataset_box(&objects[second], check->file->width, check->file->height);
    *out = (double)dn_box_iou(a, b);
    /* Masks that share nine tenths have boxes that share as much, but for rounding: look closer. */
    if (*out < dn_twice_overlap - 0.2 || !masks[first].runs || !masks[second].runs) return DN_OK;
    return dn_rle_iou(out, &masks[first], &masks[second], false);
}

static dn_status check_twice(const dn_object_check *check, int64_t index)
{
    const dn_dataset_object *objects = check->view->objects + check->image->first_object;
    const dn_dataset_object *object = &objects[index];
    for (int64_t i = 0; i < index; i++) {
        double overlap;
        if (objects[i].crowd != object->crowd) continue;
        DN_TRY(overlap_of(check, i, index, &overlap));
        if (overlap < dn_twice_overlap) continue;
        char other[DN_NAME_SIZE];
        return DN_REPORT(
            check, object, DN_FINDING_DUPLICATE, "the same as %s in line %d (they share %.0f %%)",
            describe(check, &objects[i], other), (int)objects[i].line, 100.0 * overlap);
    }
    return DN_OK;
}

/* ---- all ---- */

static dn_status check_all(const dn_object_check *check)
{
    for (int64_t i = 0; i < check->image->object_count; i++) {
        const dn_dataset_object *object = &check->view->objects[check->image->first_object + i];
        DN_TRY(check_box(check, object));
        if (object->kind == DN_OBJECT_POLYGONS) DN_TRY(check_polygons(check, object));
        DN_TRY(check_mask(check, object, &check->masks[i]));
        DN_TRY(check_twice(check, i));
    }
    return DN_OK;
}

dn_status dn_check_objects(const dn_dataset *dataset, int64_t image, const dn_checked_image *file,
                           dn_finding_list *findings)
{
    const dn_dataset_view *view = dn_dataset_get(dataset);
    dn_object_check check = {.dataset = dataset,
                             .view = view,
                             .image = &view->images[image],
                             .image_index = image,
                             .file = file,
                             .findings = findings};
    const int64_t count = check.image->object_count;
    check.masks = dn_alloc((size_t)count * sizeof *check.masks);
    if (!check.masks) return DN_ERROR_MEMORY;
    const dn_status status = check_all(&check);
    dn_rles_free(check.masks, count);
    return status;
}
