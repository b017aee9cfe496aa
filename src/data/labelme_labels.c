/* LabelMe JSON, one file an image: from events to shapes. See labelme.h.
 *
 * {"shapes": [{"label", "points": [[x, y], ...], "shape_type", "group_id", "flags", "mask"}],
 * "imagePath", "imageHeight", "imageWidth"}; all else, imageData above all, is skipped. Handlers
 * are chosen by depth: 1 in the file's object, 2 in the list of shapes, 3 in a shape, 4 in its
 * points or flags, 5 in a point. What is not as the format says is an error of the file; a shape
 * that cannot be used is a fault. Source: LabelMe's own files, versions 3 to 5.
 */
#include "data/labelme.h"

#include "core/memory.h"
#include "core/number.h"
#include "data/path.h"

#include <math.h>
#include <string.h>

enum { DN_KEY_OTHER = -1 };
enum { DN_TOP_SHAPES, DN_TOP_PATH, DN_TOP_WIDTH, DN_TOP_HEIGHT };
enum {
    DN_KEY_LABEL,
    DN_KEY_TYPE,
    DN_KEY_MASK,
    DN_KEY_POINTS,
    DN_KEY_GROUP,
    DN_KEY_FLAGS,
    DN_CROWD
};

static const char *const top_keys[] = {"shapes", "imagePath", "imageWidth", "imageHeight", NULL};
static const char *const shape_keys[] = {"label",    "shape_type", "mask", "points",
                                         "group_id", "flags",      NULL};

static int find_key(const char *const *keys, const dn_json_event *event)
{
    for (int i = 0; keys[i]; i++)
        if (dn_json_text_is(event, keys[i])) return i;
    return DN_KEY_OTHER;
}

static dn_status wrong(const dn_labelme *labelme, const char *what)
{
    return dn_fail(DN_ERROR_DATA, "%s:%d: %s", labelme->reader->path,
                   (int)dn_json_line(labelme->json), what);
}

static dn_status skip(dn_labelme *labelme, const dn_json_event *event)
{
    if (dn_json_opens(event)) labelme->skipped = 1;
    return DN_OK;
}

/* Replaces *text; null gives NULL. */
static dn_status take_text(const dn_labelme *labelme, const dn_json_event *event, const char *what,
                           char **text)
{
    if (event->kind != DN_JSON_STRING && event->kind != DN_JSON_NULL) return wrong(labelme, what);
    if (event->length && memchr(event->text, '\0', event->length)) return wrong(labelme, what);
    dn_free(*text);
    *text = NULL;
    if (event->kind == DN_JSON_NULL) return DN_OK;
    *text = dn_alloc(event->length + 1);
    if (!*text) return DN_ERROR_MEMORY;
    memcpy(*text, event->text, event->length);
    return DN_OK;
}

static dn_status take_size(const dn_labelme *labelme, const dn_json_event *event, int64_t *out)
{
    *out = 0;
    if (event->kind == DN_JSON_NULL) return DN_OK;
    if (event->kind == DN_JSON_NUMBER && dn_read_integer(event->text, event->length, out) &&
        *out > 0 && *out <= INT32_MAX)
        return DN_OK;
    return wrong(labelme, "imageWidth and imageHeight must be whole numbers above 0");
}

/* ---- depth 0 to 2 ---- */

static dn_status on_file(dn_labelme *labelme, const dn_json_event *event)
{
    if (event->kind == DN_JSON_MAP_START) return DN_OK;
    return wrong(labelme, "a LabelMe file is an object with \"shapes\"");
}

static dn_status on_top(dn_labelme *labelme, const dn_json_event *event)
{
    if (event->kind == DN_JSON_KEY) {
        labelme->top_key = find_key(top_keys, event);
        return DN_OK;
    }
    switch (labelme->top_key) {
    case DN_TOP_SHAPES:
        if (event->kind != DN_JSON_LIST_START) return wrong(labelme, "\"shapes\" must be a list");
        labelme->has_shapes = true;
        return DN_OK;
    case DN_TOP_PATH:
        return take_text(labelme, event, "imagePath must be a text", &labelme->image_path);
    case DN_TOP_WIDTH:
        return take_size(labelme, event, &labelme->width);
    case DN_TOP_HEIGHT:
        return take_size(labelme, event, &labelme->height);
    default:
        return skip(labelme, event);
    }
}

static void forget_shape(dn_labelme *labelme)
{
    dn_free(labelme->label);
    dn_free(labelme->type);
    dn_free(labelme->mask);
    labelme->label = labelme->type = labelme->mask = NULL;
}

static dn_status on_shapes(dn_labelme *labelme, const dn_json_event *event)
{
    if (event->kind != DN_JSON_MAP_START) return wrong(labelme, "a shape must be an object");
    forget_shape(labelme);
    const int64_t first = labelme->reader->points.count;
    labelme->shape =
        (dn_shape){.line = dn_json_line(labelme->json), .first = first, .end = first, .next = -1};
    return DN_OK;
}

/* ---- depth 3 to 5: a shape ---- */

static dn_status take_group(dn_labelme *labelme, const dn_json_event *event)
{
    labelme->shape.grouped = event->kind != DN_JSON_NULL;
    if (!labelme->shape.grouped) return DN_OK;
    if (event->kind == DN_JSON_NUMBER &&
        dn_read_integer(event->text, event->length, &labelme->shape.group))
        return DN_OK;
    return wrong(labelme, "a group_id must be a whole number or null");
}

static dn_status on_shape(dn_labelme *labelme, const dn_json_event *event)
{
    if (event->kind == DN_JSON_KEY) {
        labelme->shape_key = find_key(shape_keys, event);
        return DN_OK;
    }
    switch (labelme->shape_key) {
    case DN_KEY_LABEL:
        return take_text(labelme, event, "a label must be a text", &labelme->label);
    case DN_KEY_TYPE:
        return take_text(labelme, event, "a shape_type must be a text", &labelme->type);
    case DN_KEY_MASK:
        return take_text(labelme, event, "a mask must be a text (a PNG as base64)", &labelme->mask);
    case DN_KEY_GROUP:
        return take_group(labelme, event);
    case DN_KEY_POINTS:
        if (event->kind != DN_JSON_LIST_START)
            return wrong(labelme, "points must be a list of points [x, y]");
        labelme->reader->points.count = labelme->shape.first;
        return DN_OK;
    case DN_KEY_FLAGS:
        return event->kind == DN_JSON_MAP_START ? DN_OK : skip(labelme, event);
    default:
        return skip(labelme, event);
    }
}

static dn_status on_parts(dn_labelme *labelme, const dn_json_event *event)
{
    if (labelme->shape_key == DN_KEY_POINTS) {
        labelme->point_numbers = 0;
        if (event->kind == DN_JSON_LIST_START) return DN_OK;
        return wrong(labelme, "points must be a list of points [x, y]");
    }
    if (event->kind == DN_JSON_KEY) {
        if (labelme->shape_key == DN_CROWD) labelme->shape_key = DN_KEY_FLAGS;
        if (dn_json_text_is(event, "iscrowd")) labelme->shape_key = DN_CROWD;
        return DN_OK;
    }
    if (labelme->shape_key == DN_CROWD) {
        labelme->shape.crowd = event->kind == DN_JSON_BOOLEAN && event->number != 0.0;
        labelme->shape_key = DN_KEY_FLAGS;
    }
    return skip(labelme, event);
}

static dn_status on_point(dn_labelme *labelme, const dn_json_event *event)
{
    if (event->kind != DN_JSON_NUMBER || ++labelme->point_numbers > 2)
        return wrong(labelme, "a point must be two numbers [x, y]");
    return dn_points_add(&labelme->reader->points, event->number);
}

/* ---- ends ---- */

static dn_shape_kind find_kind(const char *type)
{
#define X(name, text, low, high, words) text,
    static const char *const types[] = {DN_SHAPES(X)};
#undef X
    if (!type) return DN_SHAPE_POLYGON; /* LabelMe 3 knew nothing else */
    int kind = 0;
    while (kind < DN_SHAPE_KINDS && strcmp(type, types[kind]) != 0) kind++;
    return (dn_shape_kind)kind;
}

/* Checks what is complete now; *usable: may the shape be used? */
static dn_status check_shape(dn_labelme *labelme, bool *usable)
{
#define X(name, text, low, high, words) {low, high, words},
    static const struct {
        int32_t low, high;
        const char *words;
    } limits[] = {DN_SHAPES(X)};
#undef X
    dn_label_reader *reader = labelme->reader;
    dn_shape *shape = &labelme->shape;
    shape->kind = find_kind(labelme->type);
    *usable = false;
    if (shape->kind == DN_SHAPE_KINDS)
        return DN_LABEL_FAULT(reader, DN_FINDING_MASK,
                              "shape_type \"%.40s\" is not known; polygon, rectangle, circle and "
                              "mask are",
                              labelme->type);
    const int64_t count = (shape->end - shape->first) / 2;
    if (count < limits[shape->kind].low || count > limits[shape->kind].high)
        return DN_LABEL_FAULT(reader, DN_FINDING_POINTS, "a %s has %lld points, %s are needed",
                              labelme->type ? labelme->type : "polygon", (long long)count,
                              limits[shape->kind].words);
    for (int64_t i = shape->first; i < shape->end; i++)
        if (fabs(reader->points.xy[i]) > DN_COORDINATE_MAX)
            return DN_LABEL_FAULT(reader, DN_FINDING_RANGE, "a coordinate is beyond +-%d",
                                  DN_COORDINATE_MAX);
    DN_TRY(dn_label_class_named(reader, labelme->label, &shape->class_id));
    *usable = shape->class_id >= 0;
    return DN_OK;
}

static dn_status end_shape(dn_labelme *labelme)
{
    dn_label_reader *reader = labelme->reader;
    dn_shape *shape = &labelme->shape;
    shape->end = reader->points.count;
    reader->line = shape->line;
    if (!labelme->label) return wrong(labelme, "a shape has no label");
    bool usable;
    DN_TRY(check_shape(labelme, &usable));
    if (!usable) return DN_OK;
    dn_shape *shapes =
        dn_grown(labelme->shapes, labelme->shape_count, &labelme->shape_capacity, sizeof *shapes);
    if (!shapes) return DN_ERROR_MEMORY;
    labelme->shapes = shapes;
    if (shape->kind == DN_SHAPE_MASK) {
        const dn_status status = dn_labelme_decode_mask(shape, labelme->mask);
        if (status == DN_ERROR_DATA)
            return DN_LABEL_FAULT(reader, DN_FINDING_MASK, "%.300s", dn_error_message());
        DN_TRY(status);
    }
    shapes[labelme->shape_count++] = *shape;
    return DN_OK;
}

static dn_status on_end(dn_labelme *labelme)
{
    labelme->depth--;
    if (labelme->depth == 2) return end_shape(labelme);
    if (labelme->depth == 4 && labelme->point_numbers != 2)
        return wrong(labelme, "a point must be two numbers [x, y]");
    return DN_OK;
}

static dn_status on_event(void *context, dn_json_reader *json, const dn_json_event *event)
{
    static dn_status (*const handlers[])(dn_labelme *, const dn_json_event *) = {
        on_file, on_top, on_shapes, on_shape, on_parts, on_point};
    dn_labelme *labelme = context;
    labelme->json = json;
    const bool ends = event->kind == DN_JSON_MAP_END || event->kind == DN_JSON_LIST_END;
    if (labelme->skipped > 0) {
        labelme->skipped += dn_json_opens(event) - ends;
        return DN_OK;
    }
    if (ends) return on_end(labelme);
    DN_TRY(handlers[labelme->depth](labelme, event));
    if (dn_json_opens(event) && labelme->skipped == 0) labelme->depth++;
    return DN_OK;
}

/* ---- the file ---- */

/* Is it about the image? The ending aside: images are converted. */
static bool names_image(const char *image_path, const char *path)
{
    const char *left = image_path + dn_path_folder(image_path);
    const char *right = path + dn_path_folder(path);
    const char *left_dot = strrchr(left, '.'), *right_dot = strrchr(right, '.');
    const size_t left_length = left_dot ? (size_t)(left_dot - left) : strlen(left);
    const size_t right_length = right_dot ? (size_t)(right_dot - right) : strlen(right);
    return left_length == right_length && memcmp(left, right, left_length) == 0;
}

/* Finds the image that the file names: beside the file, where the path leads nowhere. */
static dn_status find_image(dn_labelme *labelme)
{
    dn_arena *arena = &labelme->reader->builder->dataset->arena;
    const char *file = labelme->reader->path, *name = labelme->image_path;
    if (!name) return dn_fail(DN_ERROR_DATA, "%s: it has no imagePath", file);
    char *path = dn_path_beside(arena, file, name);
    if (path && !dn_path_exists(path))
        path = dn_path_beside(arena, file, name + dn_path_folder(name));
    if (!path) return DN_ERROR_MEMORY;
    if (!dn_path_exists(path))
        return dn_fail(DN_ERROR_DATA, "%s: its image is not there: %s", file, path);
    labelme->image->path = path;
    labelme->image->file_name = path + dn_path_folder(path);
    return DN_OK;
}

static dn_status read_file(dn_labelme *labelme)
{
    dn_label_reader *reader = labelme->reader;
    dn_dataset_image *image = labelme->image;
    DN_TRY(dn_json_read(reader->path, on_event, labelme));
    if (!labelme->has_shapes)
        return dn_fail(DN_ERROR_DATA, "%s: has no \"shapes\": it is not a LabelMe file",
                       reader->path);
    for (char *slash = labelme->image_path; slash && (slash = strchr(slash, '\\'));) *slash = '/';
    reader->line = 0;
    if (image->path == image->label_path) {
        DN_TRY(find_image(labelme));
    } else if (labelme->image_path && !names_image(image->path, labelme->image_path)) {
        DN_TRY(DN_LABEL_FAULT(reader, DN_FINDING_ORPHAN,
                              "its imagePath is %.200s, not %.200s; taken for that all the same",
                              labelme->image_path, image->path + dn_path_folder(image->path)));
    }
    if (labelme->width > 0 && labelme->height > 0) {
        image->width = (int32_t)labelme->width;
        image->height = (int32_t)labelme->height;
    }
    return dn_labelme_add_objects(labelme);
}

dn_status dn_read_labelme(dn_label_reader *reader, dn_dataset_image *image)
{
    dn_labelme labelme = {.reader = reader, .image = image};
    dn_points_clear(&reader->points);
    const dn_status status = read_file(&labelme);
    for (int64_t i = 0; i < labelme.shape_count; i++) dn_rle_free(&labelme.shapes[i].mask);
    dn_free(labelme.shapes);
    dn_free(labelme.image_path);
    forget_shape(&labelme);
    return status;
}
