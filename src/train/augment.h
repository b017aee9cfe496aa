/* What the cfg asks for: how the images of a stage's training are changed at random. */
#ifndef DN_TRAIN_AUGMENT_H
#define DN_TRAIN_AUGMENT_H

#include "core/network.h"

typedef struct dn_augment {
    float jitter; /* zoom in 1/(1 + jitter)..1 + jitter, shift within what that leaves */
    float hue, saturation, exposure; /* Darknet's ranges; 0, 1, 1: none */
    bool flip;
} dn_augment;

/* The augmentation of a stage; `plain`: none. */
dn_augment dn_augment_of(const dn_network *network, dn_stage stage, bool plain);

#endif
