/* LabelMe files: from shapes to objects. See labelme.h.
 *
 * Shapes of one label and group_id are one object; all others are objects of their own. A single
 * rectangle is a box without a mask, as it was drawn. Polygons stay polygons, and rectangles and
 * circles that are parts of an object, or circles alone, become some; where a mask is among the
 * parts, the object is the union of their pixels. A circle's polygon leaves it by at most a tenth
 * of a pixel.
 */
#include "core/memory.h"
#include "data/labelme.h"
#include "data/rle.h"

#include <math.h>
#include <stdlib.h>

static const double dn_circle_error = 0.1; /* pixels */

enum { DN_CIRCLE_POINTS_MIN = 12, DN_CIRCLE_POINTS_MAX = 720 };

/* ---- rings ---- */

static dn_status add_point(dn_points *points, double x, double y)
{
    DN_TRY(dn_points_add(points, x));
    return dn_points_add(points, y);
}

static dn_status add_circle(dn_points *points, const double *xy)
{
    const double radius = hypot(xy[2] - xy[0], xy[3] - xy[1]);
    double wanted = DN_CIRCLE_POINTS_MIN;
    if (radius > dn_circle_error) wanted = ceil(acos(-1.0) / acos(1.0 - dn_circle_error / radius));
    const int count = (int)fmin(fmax(wanted, DN_CIRCLE_POINTS_MIN), DN_CIRCLE_POINTS_MAX);
    for (int i = 0; i < count; i++) {
        const double angle = 2.0 * acos(-1.0) * i / count;
        /* Hundredths of a pixel, which are kept in less space, and alike on every machine. */
        const double x = round(100.0 * (xy[0] + radius * cos(angle))) / 100.0;
        const double y = round(100.0 * (xy[1] + radius * sin(angle))) / 100.0;
        DN_TRY(add_point(points, x, y));
    }
    return DN_OK;
}

static void bounds_of(const double *xy, int64_t count, double box[4])
{
    dn_points points = {.xy = (double *)xy, .count = count};
    dn_points_bounds(&points, box);
}

/* Appends the ring of a shape that is no mask to `points`. */
static dn_status add_ring(const dn_labelme *labelme, const dn_shape *shape, dn_points *points)
{
    const double *xy = labelme->reader->points.xy + shape->first;
    const int64_t count = shape->end - shape->first;
    if (shape->kind == DN_SHAPE_CIRCLE) {
        DN_TRY(add_circle(points, xy));
    } else if (shape->kind == DN_SHAPE_RECTANGLE) {
        double box[4];
        bounds_of(xy, count, box);
        const double right = box[0] + box[2], bottom = box[1] + box[3];
        DN_TRY(add_point(points, box[0], box[1]));
        DN_TRY(add_point(points, right, box[1]));
        DN_TRY(add_point(points, right, bottom));
        DN_TRY(add_point(points, box[0], bottom));
    } else {
        for (int64_t i = 0; i < count; i++) DN_TRY(dn_points_add(points, xy[i]));
    }
    return dn_points_end_part(points);
}

/* ---- objects ---- */

static dn_status add_object(const dn_labelme *labelme, const dn_shape *head,
                            dn_dataset_object *object, const dn_points *points)
{
    dn_label_reader *reader = labelme->reader;
    dn_builder *builder = reader->builder;
    object->class_id = head->class_id;
    object->id = builder->object_count + 1;
    object->line = head->line;
    object->crowd = head->crowd;
    dn_finding_kind kind;
    const char *fault = dn_box_fault(object, labelme->image->width, labelme->image->height, &kind);
    if (fault) return DN_LABEL_FAULT(reader, kind, "class %d: %s", (int)head->class_id, fault);
    if (points) DN_TRY(dn_builder_keep_points(builder, points, object));
    return dn_builder_add_object(builder, object, reader->image);
}

static dn_status add_box(const dn_labelme *labelme, const dn_shape *shape)
{
    dn_dataset_object object = {0};
    bounds_of(labelme->reader->points.xy + shape->first, shape->end - shape->first, object.bbox);
    object.area = object.bbox[2] * object.bbox[3];
    return add_object(labelme, shape, &object, NULL);
}

/* Polygons of all parts that are no masks. */
static dn_status collect_rings(const dn_labelme *labelme, const dn_shape *head, dn_points *points)
{
    const dn_shape *shapes = labelme->shapes;
    for (int64_t i = head - shapes; i >= 0; i = shapes[i].next)
        if (shapes[i].kind != DN_SHAPE_MASK) DN_TRY(add_ring(labelme, &shapes[i], points));
    return DN_OK;
}

static dn_status draw_rings(const dn_labelme *labelme, const dn_points *points, dn_rle *out)
{
    const int64_t count = points->part_count;
    const double **rings = dn_alloc((size_t)count * sizeof *rings);
    int64_t *point_counts = dn_alloc((size_t)count * sizeof *point_counts);
    dn_status status = rings && point_counts ? DN_OK : DN_ERROR_MEMORY;
    int64_t start = 0;
    for (int64_t i = 0; status == DN_OK && i < count; i++) {
        rings[i] = points->xy + start;
        point_counts[i] = (points->part_ends[i] - start) / 2;
        start = points->part_ends[i];
    }
    if (status == DN_OK)
        status = dn_rle_from_polygons(out, rings, point_counts, count, labelme->image->height,
                                      labelme->image->width);
    dn_free(rings);
    dn_free(point_counts);
    return status;
}

/* *all = *all united with *part, which is freed. */
static dn_status unite(dn_rle *all, dn_rle *part)
{
    dn_rle both[] = {*all, *part};
    const dn_status status = dn_rle_merge(all, both, 2, DN_MASK_UNION);
    if (status == DN_OK) dn_rle_free(&both[0]);
    dn_rle_free(part);
    return status;
}

static dn_status unite_masks(const dn_labelme *labelme, const dn_shape *head,
                             const dn_points *points, dn_rle *all)
{
    const dn_shape *shapes = labelme->shapes;
    if (points->part_count > 0)
        DN_TRY(draw_rings(labelme, points, all));
    else
        DN_TRY(dn_rle_from_row_runs(
            all, labelme->image->height, labelme->image->width,
            (uint32_t[]){(uint32_t)labelme->image->height * (uint32_t)labelme->image->width}, 1));
    for (int64_t i = head - shapes; i >= 0; i = shapes[i].next) {
        if (shapes[i].kind != DN_SHAPE_MASK) continue;
        dn_rle part = {0};
        DN_TRY(dn_labelme_place_mask(labelme, &shapes[i], &part));
        DN_TRY(unite(all, &part));
    }
    return DN_OK;
}

static dn_status add_masked(const dn_labelme *labelme, const dn_shape *head,
                            const dn_points *points)
{
    dn_dataset_image *image = labelme->image;
    if (image->width == 0) DN_TRY(dn_image_size(image->path, &image->width, &image->height));
    dn_rle all = {0};
    dn_status status = unite_masks(labelme, head, points, &all);
    if (status == DN_OK)
        status = dn_label_add_mask(labelme->reader, &all, head->class_id, head->crowd);
    dn_rle_free(&all);
    return status;
}

static dn_status add_polygons(const dn_labelme *labelme, const dn_shape *head,
                              const dn_points *points)
{
    dn_dataset_object object = {0};
    dn_points_bounds(points, object.bbox);
    object.area = dn_points_area(points);
    return add_object(labelme, head, &object, points);
}

static dn_status add_head(const dn_labelme *labelme, const dn_shape *head, dn_points *points)
{
    const dn_shape *shapes = labelme->shapes;
    labelme->reader->line = head->line;
    if (head->kind == DN_SHAPE_RECTANGLE && head->next < 0) return add_box(labelme, head);
    bool masked = false;
    for (int64_t i = head - shapes; i >= 0; i = shapes[i].next)
        masked = masked || shapes[i].kind == DN_SHAPE_MASK;
    dn_points_clear(points);
    DN_TRY(collect_rings(labelme, head, points));
    return masked ? add_masked(labelme, head, points) : add_polygons(labelme, head, points);
}

/* ---- groups ---- */

static int compare_groups(const void *left, const void *right)
{
    const dn_shape *a = *(const dn_shape *const *)left, *b = *(const dn_shape *const *)right;
    if (a->class_id != b->class_id) return a->class_id < b->class_id ? -1 : 1;
    if (a->group != b->group) return a->group < b->group ? -1 : 1;
    return a < b ? -1 : a > b;
}

/* Links the shapes of each group, in their order in the file. */
static dn_status link_groups(dn_labelme *labelme)
{
    dn_shape **grouped = dn_alloc((size_t)labelme->shape_count * sizeof *grouped);
    if (!grouped) return DN_ERROR_MEMORY;
    size_t count = 0;
    for (int64_t i = 0; i < labelme->shape_count; i++)
        if (labelme->shapes[i].grouped) grouped[count++] = &labelme->shapes[i];
    qsort(grouped, count, sizeof *grouped, compare_groups);
    for (size_t i = 1; i < count; i++) {
        if (grouped[i]->class_id != grouped[i - 1]->class_id ||
            grouped[i]->group != grouped[i - 1]->group)
            continue;
        grouped[i - 1]->next = grouped[i] - labelme->shapes;
        grouped[i]->continues = true;
    }
    dn_free(grouped);
    return DN_OK;
}

dn_status dn_labelme_add_objects(dn_labelme *labelme)
{
    if (labelme->shape_count == 0) return DN_OK;
    DN_TRY(link_groups(labelme));
    dn_points points = {0};
    dn_status status = DN_OK;
    for (int64_t i = 0; i < labelme->shape_count && status == DN_OK; i++)
        if (!labelme->shapes[i].continues) status = add_head(labelme, &labelme->shapes[i], &points);
    dn_points_free(&points);
    return status;
}
