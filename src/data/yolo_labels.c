/* Label rows in text files: Darknet's boxes and YOLO-seg's polygons.
 *
 * A row is `class cx cy w h` or `class x1 y1 x2 y2 x3 y3 ...`, fractions of the image's width and
 * height; a row of five numbers is a box. Objects with holes come as one polygon with a bridge,
 * which the rasteriser's even-odd rule draws right. An image without a file has no objects, and is
 * reported; an empty file says so on purpose.
 */
#include "core/memory.h"
#include "core/number.h"
#include "data/dataset.h"
#include "data/path.h"
#include "data/text_file.h"

#include <stdio.h>
#include <string.h>

enum { DN_BOX_NUMBERS = 4, DN_POLYGON_NUMBERS = 6 };

/* Coordinates may lie that much outside the image: exporters round. */
static const double dn_row_tolerance = 0.01;

typedef struct dn_row_reader {
    dn_builder *builder;
    int64_t image;
    const char *path; /* of the label file */
    int32_t line;
    int32_t classes;   /* allowed */
    int32_t max_class; /* seen; -1: none */
    dn_points points;  /* the numbers of a row */
} dn_row_reader;

#define DN_ROW_FAULT(reader, ...)                                                                  \
    dn_builder_fault((reader)->builder, (reader)->path, (reader)->line, __VA_ARGS__)

/* Reads the numbers behind the class; *usable says whether the row may be used. */
static dn_status read_numbers(dn_row_reader *reader, char *rest, bool *usable)
{
    *usable = false;
    dn_points_clear(&reader->points);
    for (char *word; (word = dn_text_word(&rest));) {
        double value;
        if (!dn_read_number(word, strlen(word), &value))
            return DN_ROW_FAULT(reader, "'%.40s' is not a number", word);
        if (!(value >= -dn_row_tolerance && value <= 1.0 + dn_row_tolerance))
            return DN_ROW_FAULT(reader,
                                "%.40s is out of range 0..1: coordinates are fractions of the "
                                "image's width and height",
                                word);
        DN_TRY(dn_points_add(&reader->points, value));
    }
    const int64_t count = reader->points.count;
    if (count != DN_BOX_NUMBERS && (count < DN_POLYGON_NUMBERS || count % 2 != 0))
        return DN_ROW_FAULT(reader,
                            "%lld numbers follow the class; wanted are 4 (cx cy w h) or a polygon "
                            "of at least 3 points (x y)",
                            (long long)count);
    *usable = true;
    return DN_OK;
}

static dn_status read_class(dn_row_reader *reader, const char *word, int32_t *out, bool *usable)
{
    int64_t value;
    *usable = false;
    if (!dn_read_integer(word, strlen(word), &value))
        return DN_ROW_FAULT(reader, "the class '%.40s' is not a whole number", word);
    if (value < 0 || value >= reader->classes)
        return DN_ROW_FAULT(reader, "class %lld is out of range 0..%d", (long long)value,
                            (int)reader->classes - 1);
    *out = (int32_t)value;
    *usable = true;
    return DN_OK;
}

static dn_status add_row(dn_row_reader *reader, int32_t class_id)
{
    dn_builder *builder = reader->builder;
    dn_points *points = &reader->points;
    dn_dataset_object object = {.class_id = class_id,
                                .id = builder->object_count + 1,
                                .line = reader->line,
                                .fractions = true};
    if (points->count == DN_BOX_NUMBERS) {
        const double *row = points->xy;
        object.bbox[0] = row[0] - row[2] / 2.0;
        object.bbox[1] = row[1] - row[3] / 2.0;
        object.bbox[2] = row[2];
        object.bbox[3] = row[3];
        object.area = row[2] * row[3];
    } else {
        DN_TRY(dn_points_end_part(points));
        dn_points_bounds(points, object.bbox);
        object.area = dn_points_area(points);
    }
    const char *fault = dn_box_fault(&object, 1.0, 1.0);
    if (fault) return DN_ROW_FAULT(reader, "class %d: %s", (int)class_id, fault);
    if (points->part_count > 0) DN_TRY(dn_builder_keep_points(builder, points, &object));
    if (class_id > reader->max_class) reader->max_class = class_id;
    return dn_builder_add_object(builder, &object, reader->image);
}

static dn_status read_row(dn_row_reader *reader, char *line)
{
    char *word = dn_text_word(&line);
    if (!word) return DN_OK;
    int32_t class_id = 0;
    bool usable;
    DN_TRY(read_class(reader, word, &class_id, &usable));
    if (usable) DN_TRY(read_numbers(reader, line, &usable));
    return usable ? add_row(reader, class_id) : DN_OK;
}

/* Sets label_path of the image to the first candidate that exists, or that may be made. */
static dn_status find_label_file(dn_builder *builder, dn_dataset_image *image, bool *found)
{
    *found = false;
    image->label_path = NULL;
    for (int32_t i = 0; !*found; i++) {
        char *path;
        DN_TRY(dn_label_path(image->path, i, &path));
        if (!path) break;
        *found = dn_path_exists(path);
        if (*found || i == 0) image->label_path = dn_arena_join(&builder->dataset->arena, path, "");
        dn_free(path);
        if (!image->label_path) return DN_ERROR_MEMORY;
    }
    if (*found) return DN_OK;
    return dn_builder_fault(builder, image->path, 0,
                            "it has no label file (%s or the like): taken as an image without "
                            "objects",
                            image->label_path);
}

static dn_status read_label_file(dn_row_reader *reader)
{
    dn_text_file file;
    DN_TRY(dn_text_open(reader->path, &file));
    dn_status status = DN_OK;
    for (char *line; status == DN_OK && (line = dn_text_line(&file));) {
        reader->line = file.line;
        status = read_row(reader, line);
    }
    dn_text_close(&file);
    return status;
}

static dn_status read_all(dn_row_reader *reader)
{
    dn_builder *builder = reader->builder;
    int64_t files = 0;
    for (int64_t i = 0; i < builder->image_count; i++) {
        bool found;
        DN_TRY(find_label_file(builder, &builder->images[i], &found));
        if (!found) continue;
        files++;
        reader->image = i;
        reader->path = builder->images[i].label_path;
        DN_TRY(read_label_file(reader));
    }
    if (files == 0)
        return dn_fail(DN_ERROR_DATA,
                       "%s: none of its %lld images has a label file; that of the first would be "
                       "%s",
                       builder->source->path, (long long)builder->image_count,
                       builder->images[0].label_path);
    return DN_OK;
}

dn_status dn_read_rows(dn_builder *builder)
{
    const int32_t given = builder->names.count ? builder->names.count : builder->source->classes;
    dn_row_reader reader = {
        .builder = builder, .classes = given ? given : DN_CLASSES_MAX, .max_class = -1};
    if (builder->source->images_only) return dn_builder_number_classes(builder, given);
    const dn_status status = read_all(&reader);
    dn_points_free(&reader.points);
    if (status != DN_OK) return status;
    return dn_builder_number_classes(builder, given ? given : reader.max_class + 1);
}
