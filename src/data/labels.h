/* Label files of single images: what their readers share. label_files.c finds the file of each
 * image and the reader that belongs to its place; docs/formats.md has the rules.
 */
#ifndef DN_DATA_LABELS_H
#define DN_DATA_LABELS_H

#include "data/dataset.h"

/* Classes that labels call by name, sorted by it. */
typedef struct dn_class_entry {
    const char *name; /* in the data set's arena */
    int32_t class_id;
} dn_class_entry;

typedef struct dn_class_table {
    dn_class_entry *entries;
    int64_t count, capacity;
    bool open; /* there is no list of names: new ones are added as they come */
} dn_class_table;

typedef struct dn_label_reader {
    dn_builder *builder;
    int64_t image;       /* index of the image whose labels are read */
    const char *path;    /* of the label file, in the data set's arena */
    int32_t line;        /* of the label being read */
    int32_t class_limit; /* class numbers are below it */
    int32_t max_class;   /* the largest number seen; -1: none */
    dn_class_table classes;
    dn_points points; /* scratch: of one row, or of one file */
    uint32_t *runs;   /* scratch: of one row */
    int64_t run_capacity;
} dn_label_reader;

#define DN_LABEL_FAULT(reader, kind, ...)                                                          \
    dn_builder_fault((reader)->builder, kind, (reader)->path, (reader)->line, __VA_ARGS__)

/* A class by its number, or by its name; *out is -1 where that is a fault. */
dn_status dn_label_class_numbered(dn_label_reader *reader, const char *word, int32_t *out);
dn_status dn_label_class_named(dn_label_reader *reader, const char *name, int32_t *out);

/* Adds an object with this mask to the image. An empty mask is a fault. */
dn_status dn_label_add_mask(dn_label_reader *reader, const dn_rle *mask, int32_t class_id,
                            bool crowd);

/* Begin and end: the classes of the builder's source; *reader is freed by the end, whose outcome is
 * `status` or its own failure. */
dn_status dn_labels_begin(dn_label_reader *reader, dn_builder *builder);
dn_status dn_labels_end(dn_label_reader *reader, dn_status status);

/* Reads the label file of an image with `read`, which sets what it knows of the image. *kept says
 * whether the image stays: where the file is lost, it is left out with a fault. */
typedef dn_status (*dn_read_labels)(dn_label_reader *reader, dn_dataset_image *image);
dn_status dn_labels_read(dn_label_reader *reader, dn_read_labels read, dn_dataset_image *image,
                         bool *kept);

/* The readers, each of the file label_path of the image. */
dn_status dn_read_row_file(dn_label_reader *reader, dn_dataset_image *image);
dn_status dn_read_run_file(dn_label_reader *reader, dn_dataset_image *image);
dn_status dn_read_label_png(dn_label_reader *reader, dn_dataset_image *image);
dn_status dn_read_labelme(dn_label_reader *reader, dn_dataset_image *image);

/* Where the label file of an image may lie: its path with `folder` for its last folder "images" or
 * "JPEGImages" (index 0), then for each earlier one; then, with `beside`, as it is; with `ending`
 * for its own. *out is freed with dn_free; NULL when there are no more. */
dn_status dn_label_path(const char *image_path, const char *folder, bool beside, const char *ending,
                        int32_t index, char **out);

#endif
