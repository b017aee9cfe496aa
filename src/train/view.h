/* Views: the random maps from network to image pixels. */
#ifndef DN_TRAIN_VIEW_H
#define DN_TRAIN_VIEW_H

#include "core/rng.h"
#include "data/geometry.h"
#include "train/augment.h"

/* How an image lies in a network's input of width x height, before and after `augment`'s changes:
 * the letterbox (`stretch`: the whole input) of inference, zoomed, shifted, mirrored. */
dn_affine dn_view_random(const dn_augment *augment, const dn_image *image, int32_t width,
                         int32_t height, bool stretch, dn_rng *rng);

/* The view moved, not scaled, to a random place of `area`, in network pixels: all of the image is
 * in the area or, where it is the larger one, all of the area is in the image. */
dn_affine dn_view_place(dn_affine view, const dn_image *image, dn_box area, dn_rng *rng);

#endif
