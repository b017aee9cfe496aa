/* LabelMe files, in two steps: labelme_labels.c takes the JSON's events apart into shapes,
 * labelme_objects.c makes objects of the shapes once the file is read, since the size of the image
 * stands at its end. Shapes that are masks: labelme_mask.c.
 */
#ifndef DN_DATA_LABELME_H
#define DN_DATA_LABELME_H

#include "data/json_reader.h"
#include "data/labels.h"

/* X(name, shape_type, points it needs at least, at most, both in words) */
#define DN_SHAPES(X)                                                                               \
    X(POLYGON, "polygon", 3, INT32_MAX, "3 or more")                                               \
    X(RECTANGLE, "rectangle", 2, 4, "2 to 4")                                                      \
    X(CIRCLE, "circle", 2, 2, "2")                                                                 \
    X(MASK, "mask", 2, 2, "2")

#define X(name, text, low, high, words) DN_SHAPE_##name,
typedef enum dn_shape_kind { DN_SHAPES(X) DN_SHAPE_KINDS } dn_shape_kind;
#undef X

typedef struct dn_shape {
    dn_shape_kind kind;
    int32_t line, class_id;
    bool grouped, crowd;
    int64_t group;
    int64_t first, end; /* its coordinates in the reader's points.xy */
    int64_t next;       /* the next shape of the same object; -1: none */
    bool continues;     /* an earlier shape's object */
    dn_rle mask;        /* DN_SHAPE_MASK: at the size of its PNG */
} dn_shape;

typedef struct dn_labelme {
    dn_label_reader *reader;
    dn_dataset_image *image;
    dn_json_reader *json; /* during an event */
    int32_t depth, skipped;
    int top_key, shape_key; /* labelme_labels.c */
    bool has_shapes;
    char *image_path; /* as written; freed with dn_free */
    int64_t width, height;
    dn_shape *shapes;
    int64_t shape_count, shape_capacity;
    /* the shape being read */
    char *label, *type, *mask; /* freed with dn_free */
    int32_t point_numbers;     /* of the point being read */
    dn_shape shape;
} dn_labelme;

/* Keeps the mask of a shape: a PNG as base64 text. */
dn_status dn_labelme_decode_mask(dn_shape *shape, const char *text);

/* It at its place in the image; what leaves the image is cut off. */
dn_status dn_labelme_place_mask(const dn_labelme *labelme, const dn_shape *shape, dn_rle *out);

/* Adds the objects of the whole file to the image, whose size is set. */
dn_status dn_labelme_add_objects(dn_labelme *labelme);

#endif
