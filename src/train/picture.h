/* Pictures: an image with its objects, in the image's own pixels, before any view of it is taken.
 */
#ifndef DN_TRAIN_PICTURE_H
#define DN_TRAIN_PICTURE_H

#include "darknet.h"

typedef struct dn_picture_object {
    dn_box box; /* as labelled; not looked at where a mask is cut */
    int32_t class_id;
    bool crowd;
    bool cut;     /* the mask is not the labelled one: pasted, or pasted over */
    float size;   /* its pixels when all of it shows: of the mask, else of the box */
    float hidden; /* of a box without a mask: pixels that were pasted over */
    dn_rle mask;  /* what shows of it; without runs: a box without a mask */
} dn_picture_object;

typedef struct dn_picture {
    int32_t width, height; /* of the file's image, in whose pixels the objects are */
    dn_image image;        /* the same with both sides divided by `shrink` */
    int32_t shrink;
    int64_t index; /* of the image in the data set */
    int32_t object_count;
    dn_picture_object *objects; /* (object_count) */
} dn_picture;

/* Where pictures come from. An image that cannot be used is told to `unusable` (NULL: nobody) and
 * the next one of the data set takes its place; with `strict` it is an error. */
typedef struct dn_picture_source {
    const dn_dataset *dataset;
    bool strict;
    void (*unusable)(void *context, int64_t image); /* the reason: dn_error_message() */
    void *context;
} dn_picture_source;

/* Asked before an image is decoded: by how much (1, 2, 4, 8) its sides may be divided. */
typedef struct dn_shrink_rule {
    int32_t (*shrink)(void *context, int32_t width, int32_t height);
    void *context;
} dn_shrink_rule;

/* Decodes image `index`, as small as `rule` allows (NULL: whole), and rasterises its objects'
 * masks. *picture is freed with dn_picture_free. */
dn_status dn_picture_load(const dn_picture_source *source, int64_t index,
                          const dn_shrink_rule *rule, dn_picture *picture);
void dn_picture_free(dn_picture *picture);

#endif
