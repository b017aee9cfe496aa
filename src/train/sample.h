/* One training sample: an image as the network sees it, and the truth that goes with it.
 *
 * The view is an axis-aligned map from network to image pixels: the letterbox of inference, zoomed,
 * shifted and mirrored at random. Pixels, boxes and masks all go through the same map; masks stay
 * runs in image pixels, so nothing about them is resampled. Random numbers are a function of
 * (seed, number of the sample), so prefetching and resuming change nothing.
 */
#ifndef DN_TRAIN_SAMPLE_H
#define DN_TRAIN_SAMPLE_H

#include "data/geometry.h"
#include "train/augment.h"

typedef struct dn_sample_options {
    int32_t width, height; /* of the network's input */
    bool stretch;          /* no letterbox */
    dn_augment augment;
    uint64_t seed;
} dn_sample_options;

/* Everything a sample owns but its pixels; reused for the next one, freed with dn_sample_free. */
typedef struct dn_sample {
    dn_truth truth;
    dn_truth_object *objects; /* (capacity) */
    dn_rle *masks;            /* (capacity), one an object; empty for boxes */
    int32_t capacity;
    int64_t image; /* index in the data set */
} dn_sample;

/* Loads image `image` of the data set as sample number `number` into `input`, planar
 * (3, height, width). */
dn_status dn_sample_load(const dn_dataset *dataset, const dn_sample_options *options, int64_t image,
                         int64_t number, float *input, dn_sample *sample);
void dn_sample_free(dn_sample *sample);

#endif
