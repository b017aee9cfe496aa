/* What the cfg asks for: how the images of a stage's training are changed at random. */
#ifndef DN_TRAIN_AUGMENT_H
#define DN_TRAIN_AUGMENT_H

#include "core/network.h"

typedef struct dn_augment {
    float hue, saturation, exposure; /* Darknet's ranges; 0, 1, 1: none */
    bool flip;
    float jitter, resize;      /* the heads': each side is cropped or padded at random */
    float shake;               /* mask_jitter: zoom in 1/(1 + shake)..1 + shake, and shift */
    float zoom_min, zoom_max;  /* scale_jitter, instead of the above; 0: none */
    bool mosaic, mosaic_bound; /* half of the samples are made of four images; see sample.c */
    bool mixup;                /* half of the others are the mean of two images */
    float copy_paste;          /* share of images that get objects of another one */
} dn_augment;

/* The augmentation of a stage; `plain`: none. */
dn_status dn_augment_make(const dn_network *network, dn_stage stage, bool plain, dn_augment *out);

#endif
