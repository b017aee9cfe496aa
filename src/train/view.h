/* Views: the random maps from network to image pixels. */
#ifndef DN_TRAIN_VIEW_H
#define DN_TRAIN_VIEW_H

#include "core/rng.h"
#include "data/geometry.h"
#include "train/augment.h"

/* How an image lies in a network's input: as the letterbox (or stretched image) of inference,
 * zoomed, shifted and mirrored as `augment` says. */
dn_affine dn_view_random(const dn_augment *augment, const dn_letterbox *letterbox, dn_rng *rng);

/* The view of such an image moved, not scaled, to a random place of `area`, in network pixels: all
 * of the image is in the area or, where it is the larger one, all of the area is in the image. */
dn_affine dn_view_place(dn_affine view, const dn_letterbox *letterbox, dn_box area, dn_rng *rng);

#endif
