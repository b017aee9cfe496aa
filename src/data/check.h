/* `check`: what is wrong in data sets, found before a training does. findings.h has the kinds.
 *
 * check.c loads the sets, whose readers report what they skip, and looks at each image with its
 * objects on all threads: check_image.c reads the file, check_objects.c compares the labels with it
 * and with each other. check_sets.c then looks for images that are there twice, and for labels
 * without an image.
 */
#ifndef DN_DATA_CHECK_H
#define DN_DATA_CHECK_H

#include "data/dataset.h"

typedef struct dn_check_options {
    int32_t threads;
    const dn_finding_sink *sink;
    void *context; /* of progress, which may be NULL: called on the caller's thread */
    void (*progress)(void *context, int64_t done, int64_t images);
} dn_check_options;

typedef struct dn_check_totals {
    int64_t images, objects, polygons, runs, boxes, crowds;
} dn_check_totals;

/* Checks `count` data sets, each by itself and all with each other; totals is (count). A set that
 * cannot be loaded because of its content is a finding too. */
dn_status dn_check(const dn_dataset_source *sources, int32_t count, const dn_check_options *options,
                   dn_check_totals *totals);

/* ---- its parts ---- */

/* Findings kept until their turn comes. */
typedef struct dn_finding_list {
    dn_finding *items; /* their texts belong to the list */
    int64_t count, capacity;
} dn_finding_list;

/* Adds a finding, its text made as printf does. */
dn_status dn_finding_add(dn_finding_list *list, dn_finding_kind kind, const char *path,
                         int32_t line, const char *format, ...) DN_PRINTF(5, 6);
void dn_finding_list_free(dn_finding_list *list);

/* What is known of an image file. */
typedef struct dn_checked_image {
    const char *path; /* NULL: the file cannot be read */
    int32_t set;      /* index of its data set */
    int32_t width, height;
    uint64_t hash; /* of its bytes */
    size_t size;   /* in bytes */
} dn_checked_image;

/* Reads and decodes the file of an image. */
dn_status dn_check_image(const dn_dataset *dataset, int64_t image, dn_checked_image *out,
                         dn_finding_list *findings);

/* The objects of an image whose size is known. */
dn_status dn_check_objects(const dn_dataset *dataset, int64_t image, const dn_checked_image *file,
                           dn_finding_list *findings);

typedef enum dn_ring_verdict { DN_RING_SIMPLE, DN_RING_CROSSES, DN_RING_UNKNOWN } dn_ring_verdict;

/* A point where the closed ring (count points x, y) crosses itself, if it does. Edges that only
 * touch, or lie on each other as bridges do, are no crossing. DN_RING_UNKNOWN: more than 20,000
 * edges lie side by side, and no crossing was found in time. */
dn_status dn_ring_crossing(const double *xy, int64_t count, dn_ring_verdict *verdict,
                           double point[2]);

/* Images that are there twice, by their bytes or by their names. Sorts them. */
dn_status dn_check_repeated(dn_checked_image *images, int64_t count, const dn_finding_sink *sink);

/* Files in the folders of the label files that belong to no image. */
dn_status dn_check_orphans(const dn_dataset *dataset, const dn_dataset_source *source,
                           const dn_finding_sink *sink);

#endif
