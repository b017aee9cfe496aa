/* COCO instances files, in three steps: coco_labels.c takes the JSON's events apart, coco_items.c
 * makes images, objects and categories of them, and coco_resolve.c joins annotations with images
 * and categories, which may stand in any order in the file.
 */
#ifndef DN_DATA_COCO_H
#define DN_DATA_COCO_H

#include "data/dataset.h"
#include "data/json_reader.h"

typedef struct dn_coco_category {
    int64_t id;
    const char *name; /* in the data set's arena */
    int32_t class_id; /* -1: none of the given names */
    bool used;        /* an annotation has it */
} dn_coco_category;

/* What the builder's images and objects do not hold. */
typedef struct dn_coco {
    dn_builder *builder;
    const char *path;
    dn_coco_category *categories;
    int64_t category_count, category_capacity;
    int32_t *image_lines; /* (builder->image_count) */
    int64_t image_line_capacity;
    int64_t *category_ids; /* (builder->object_count); owners holds the image ids meanwhile */
    int64_t category_id_capacity;
} dn_coco;

typedef enum dn_coco_section {
    DN_COCO_OTHER,
    DN_COCO_IMAGES,
    DN_COCO_ANNOTATIONS,
    DN_COCO_CATEGORIES,
    DN_COCO_SECTIONS,
} dn_coco_section;

typedef enum dn_coco_field {
    DN_FIELD_OTHER,
    DN_FIELD_ID,
    DN_FIELD_FILE_NAME,
    DN_FIELD_WIDTH,
    DN_FIELD_HEIGHT,
    DN_FIELD_NAME,
    DN_FIELD_IMAGE_ID,
    DN_FIELD_CATEGORY_ID,
    DN_FIELD_CROWD,
    DN_FIELD_AREA,
    DN_FIELD_BBOX,
    DN_FIELD_SEGMENTATION,
    DN_FIELD_SIZE, /* of an RLE */
    DN_FIELD_COUNTS,
    DN_FIELDS,
} dn_coco_field;

/* The image, annotation or category being read. */
typedef struct dn_coco_item {
    int32_t line;
    bool has[DN_FIELDS];
    int64_t integers[DN_FIELDS]; /* of those fields that are integers */
    double bbox[4], area;
    int32_t bbox_count, size_count;
    int64_t size[2]; /* height, width */
    bool rle, bad_part;
} dn_coco_item;

typedef struct dn_coco_reader {
    dn_coco coco;
    dn_json_reader *json; /* during an event */
    int32_t depth, skipped;
    dn_coco_section section;
    bool seen[DN_COCO_SECTIONS];
    bool labelme;       /* a key of LabelMe's files was met */
    int64_t item_count; /* of the section so far */
    dn_coco_field field, rle_field;
    dn_coco_item item;
    char *text; /* file_name, name or compressed counts */
    int64_t text_capacity;
    dn_points points; /* or uncompressed counts */
} dn_coco_reader;

/* The names of the sections, "" for DN_COCO_OTHER. */
extern const char *const dn_coco_sections[];

/* Fails: the file does not follow the format. The message says where. */
dn_status dn_coco_wrong(dn_coco_reader *reader, const char *what);

/* What was read is complete: one polygon of a segmentation; the image, annotation or category. */
dn_status dn_coco_end_polygon(dn_coco_reader *reader);
dn_status dn_coco_end_item(dn_coco_reader *reader);

/* Turns ids into indices, maps the classes, checks the boxes. */
dn_status dn_coco_resolve(dn_coco *coco);

#endif
