/* Data sets: how the readers of labels fill a dn_dataset (darknet.h), and how it keeps them.
 *
 * A reader adds images and objects to a dn_builder in any order; dn_builder_finish groups the
 * objects by image. Texts, points and runs live in blocks that never move.
 *
 * `words` of an object: for DN_OBJECT_RLE height, width, then the runs. For DN_OBJECT_POLYGONS part
 * after part its number of points, then x, y, x, y, ...: where all coordinates of the object are
 * decimal numbers of at most `decimals` places, each is the int32 round(coordinate * 10^decimals),
 * from which the same double comes back; else (decimals == DN_EXACT_DOUBLES) each is the two words
 * of its double. So nothing is lost, and rasters equal those made from the text.
 */
#ifndef DN_DATA_DATASET_H
#define DN_DATA_DATASET_H

#include "core/status.h"
#include "data/findings.h"

enum {
    DN_EXACT_DOUBLES = 255,
    DN_DECIMALS_MAX = 9,
    DN_RLE_HEADER = 2,            /* words before the runs */
    DN_CLASSES_MAX = 65536,       /* of any data set */
    DN_COORDINATE_MAX = 10000000, /* pixels; far beyond every image */
};

/* ---- Memory that only grows ---- */

typedef struct dn_arena_block {
    struct dn_arena_block *next;
    size_t size, used; /* bytes behind this header */
} dn_arena_block;

typedef struct dn_arena {
    dn_arena_block *first; /* the one being filled */
} dn_arena;

/* A zeroed block, aligned for every type, freed by dn_arena_free only. NULL as dn_alloc. */
void *dn_arena_take(dn_arena *arena, size_t bytes);
void dn_arena_free(dn_arena *arena);

/* first + second, NUL-terminated; NULL as dn_alloc. */
char *dn_arena_join(dn_arena *arena, const char *first, const char *second);

/* For an array of `count` items that must grow by one: a larger copy of it when *capacity is
 * reached, else the array itself. NULL on failure: the array is untouched. */
void *dn_grown(void *items, int64_t count, int64_t *capacity, size_t item_size);

/* ---- Class names ---- */

typedef struct dn_names {
    const char **items;
    int32_t count;
} dn_names;

/* Reads a file of class names, one a line, into the arena. Blank lines at the end do not count, and
 * are errors elsewhere, because they would shift the classes. */
dn_status dn_names_read(const char *path, dn_arena *arena, dn_names *out);

/* ---- The data set ---- */

struct dn_dataset {
    dn_dataset_view view; /* its arrays: images and objects allocated, the rest in the arena */
    dn_arena arena;
    const char *faults[DN_FAULTS_KEPT];
};

/* ---- Filling it ---- */

/* Polygons of one object while they are read. */
typedef struct dn_points {
    double *xy;
    int64_t count, capacity; /* coordinates */
    int64_t *part_ends;      /* (part_count): behind the last coordinate of each part */
    int64_t part_count, part_capacity;
} dn_points;

typedef struct dn_builder {
    const dn_dataset_source *source;
    const dn_finding_sink *sink; /* hears of all faults; or NULL */
    dn_names names;              /* of source->names; count 0: none given */
    dn_dataset *dataset;
    dn_dataset_image *images;
    int64_t image_count, image_capacity;
    dn_dataset_object *objects;
    int64_t object_count, object_capacity;
    int64_t *owners; /* (object_count): index of the image; negative: the object is dropped */
    int64_t owner_capacity;
} dn_builder;

/* A label that cannot be used: fails with "path:line: sentence" where the source is strict; else
 * reports it and returns DN_OK, and the caller skips the label. Line 0: there is none. */
dn_status dn_builder_fault(dn_builder *builder, dn_finding_kind kind, const char *path,
                           int32_t line, const char *format, ...) DN_PRINTF(5, 6);

/* Append copies; the image's texts must live in the data set's arena. */
dn_status dn_builder_add_image(dn_builder *builder, const dn_dataset_image *image);
dn_status dn_builder_add_object(dn_builder *builder, const dn_dataset_object *object,
                                int64_t owner);

/* Keep the mask of an object that is going to be added. */
dn_status dn_builder_keep_points(dn_builder *builder, const dn_points *points,
                                 dn_dataset_object *object);
dn_status dn_builder_keep_rle(dn_builder *builder, const dn_rle *rle, dn_dataset_object *object);

/* What is wrong with the object's box in an image of this size (fractions: 1 x 1; 0: unknown), and
 * of which kind that is; or NULL. */
const char *dn_box_fault(const dn_dataset_object *object, double width, double height,
                         dn_finding_kind *kind);

/* Sets the names and category ids 1, 2, ... of data sets that bring none: the given names, else
 * `class_count` numbers. */
dn_status dn_builder_number_classes(dn_builder *builder, int32_t class_count);

/* Points: begin a new object, add a coordinate, end a part, give the coordinates back. */
void dn_points_clear(dn_points *points);
dn_status dn_points_add(dn_points *points, double coordinate);
dn_status dn_points_end_part(dn_points *points);
void dn_points_free(dn_points *points);
void dn_points_bounds(const dn_points *points, double bbox[4]);
double dn_points_area(const dn_points *points);

/* ---- The readers ---- */

dn_status dn_read_coco(dn_builder *builder);

/* Add the images of a list or folder. A folder that holds LabelMe files and no images stands for
 * the images that they name: path and label_path are the same then, the LabelMe file. */
dn_status dn_read_image_folder(dn_builder *builder);
dn_status dn_read_image_list(dn_builder *builder);

/* The images of a list or folder, with the class that a label in their path says. */
dn_status dn_read_class_list(dn_builder *builder, bool folder);

/* Does the name end like that of an image? */
bool dn_is_image_name(const char *name);

/* Add the objects of the images that are there, from label files (labels.h), or from the source's
 * folder of masks; images whose labels are lost are left out. */
dn_status dn_read_label_files(dn_builder *builder);
dn_status dn_read_mask_folder(dn_builder *builder);

/* dn_dataset_load, which tells `sink` (or NULL) of every fault. */
dn_status dn_dataset_load_reporting(const dn_dataset_source *source, const dn_finding_sink *sink,
                                    dn_dataset **out);

#endif
