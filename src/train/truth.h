/* From the objects of a picture to those of a sample: what of them shows, and where. */
#ifndef DN_TRAIN_TRUTH_H
#define DN_TRAIN_TRUTH_H

#include "train/picture.h"

/* A picture's place in a sample. */
typedef struct dn_tile {
    dn_affine view; /* from network pixels to the picture's */
    dn_box area;    /* of the network's input, in which the picture shows */
    dn_box limit;   /* boxes without a mask end there: the area, or the whole input */
} dn_tile;

/* *out = the object as the sample shows it, without its mask; false where too little of it shows.
 */
bool dn_truth_of(const dn_picture *picture, const dn_picture_object *object, const dn_tile *tile,
                 dn_truth_object *out);

#endif
