/* Random changes of colour, as Darknet makes them. */
#ifndef DN_TRAIN_COLOURS_H
#define DN_TRAIN_COLOURS_H

#include "core/rng.h"
#include "train/augment.h"

/* A factor between range and 1/range, above and below 1 equally often; range .75 means what 4/3
 * does. 0 stands for 1. */
float dn_random_factor(dn_rng *rng, float range);

/* Changes hue, saturation and exposure of a planar image (3, count) in 0..1. */
void dn_random_colours(const dn_augment *augment, dn_rng *rng, float *pixels, int64_t count);

#endif
