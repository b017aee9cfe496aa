/* Scenes: an image with its objects, in the image's own pixels, before any view of it is taken. */
#ifndef DN_TRAIN_SCENE_H
#define DN_TRAIN_SCENE_H

#include "darknet.h"

typedef struct dn_scene_object {
    dn_box box; /* as labelled; not looked at where a mask is cut */
    int32_t class_id;
    bool crowd;
    bool cut;     /* the mask is not the labelled one: pasted, or pasted over */
    float size;   /* its pixels when all of it shows: of the mask, else of the box */
    float hidden; /* of a box without a mask: pixels that were pasted over */
    dn_rle mask;  /* what shows of it; without runs: a box without a mask */
} dn_scene_object;

typedef struct dn_scene {
    dn_image image;
    int64_t index; /* of the image in the data set */
    int32_t object_count;
    dn_scene_object *objects; /* (object_count) */
} dn_scene;

/* Where scenes come from. An image that cannot be used is told to `unusable` (NULL: nobody) and the
 * next one of the data set takes its place; with `strict` it is an error. */
typedef struct dn_scene_source {
    const dn_dataset *dataset;
    bool strict;
    void (*unusable)(void *context, int64_t image); /* the reason: dn_error_message() */
    void *context;
} dn_scene_source;

/* Decodes image `index` and rasterises its objects' masks. *scene is freed with dn_scene_free. */
dn_status dn_scene_load(const dn_scene_source *source, int64_t index, dn_scene *scene);
void dn_scene_free(dn_scene *scene);

#endif
