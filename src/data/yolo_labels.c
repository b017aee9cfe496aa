/* Label rows in text files: Darknet's boxes and YOLO-seg's polygons.
 *
 * A row is `class cx cy w h` or `class x1 y1 x2 y2 x3 y3 ...`, fractions of the image's width and
 * height; a row of five numbers is a box. Objects with holes come as one polygon with a bridge,
 * which the rasteriser's even-odd rule draws right.
 */
#include "core/number.h"
#include "data/labels.h"
#include "data/text_file.h"

#include <string.h>

enum { DN_BOX_NUMBERS = 4, DN_POLYGON_NUMBERS = 6 };

/* Coordinates may lie that much outside the image: exporters round. */
static const double dn_row_tolerance = 0.01;

/* Reads the numbers behind the class; *usable says whether the row may be used. */
static dn_status read_numbers(dn_label_reader *reader, char *rest, bool *usable)
{
    *usable = false;
    dn_points_clear(&reader->points);
    for (char *word; (word = dn_text_word(&rest));) {
        double value;
        if (!dn_read_number(word, strlen(word), &value))
            return DN_LABEL_FAULT(reader, DN_FINDING_FORMAT, "'%.40s' is not a number", word);
        if (!(value >= -dn_row_tolerance && value <= 1.0 + dn_row_tolerance))
            return DN_LABEL_FAULT(reader, DN_FINDING_RANGE,
                                  "%.40s is out of range 0..1: coordinates are fractions of the "
                                  "image's width and height",
                                  word);
        DN_TRY(dn_points_add(&reader->points, value));
    }
    const int64_t count = reader->points.count;
    if (count != DN_BOX_NUMBERS && (count < DN_POLYGON_NUMBERS || count % 2 != 0))
        return DN_LABEL_FAULT(
            reader, DN_FINDING_POINTS,
            "%lld numbers follow the class; wanted are 4 (cx cy w h) or a polygon "
            "of at least 3 points (x y)",
            (long long)count);
    *usable = true;
    return DN_OK;
}

static dn_status add_row(dn_label_reader *reader, int32_t class_id)
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
    dn_finding_kind kind;
    const char *fault = dn_box_fault(&object, 1.0, 1.0, &kind);
    if (fault) return DN_LABEL_FAULT(reader, kind, "class %d: %s", (int)class_id, fault);
    if (class_id > reader->max_class) reader->max_class = class_id;
    if (points->part_count > 0) DN_TRY(dn_builder_keep_points(builder, points, &object));
    return dn_builder_add_object(builder, &object, reader->image);
}

static dn_status read_row(dn_label_reader *reader, char *line)
{
    char *word = dn_text_word(&line);
    if (!word) return DN_OK;
    int32_t class_id;
    bool usable = false;
    DN_TRY(dn_label_class_numbered(reader, word, &class_id));
    if (class_id >= 0) DN_TRY(read_numbers(reader, line, &usable));
    return usable ? add_row(reader, class_id) : DN_OK;
}

dn_status dn_read_row_file(dn_label_reader *reader, dn_dataset_image *image)
{
    (void)image;
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
