/* One training sample: images as the network sees them, and the truth that goes with them.
 *
 * A sample shows one image through a random view; or, as a mosaic, four; or, as a mixup, the mean
 * of two. Every image is a picture of its own (picture.h), with its own view (view.h), an
 * axis-aligned map between network and image pixels, and a rectangle of the input in which it
 * shows. Pixels, boxes and masks all go through that map; masks stay runs in image pixels, so
 * nothing about them is resampled. Random numbers are a function of (seed, number of the sample,
 * place in the sample), so prefetching and resuming change nothing.
 */
#ifndef DN_TRAIN_SAMPLE_H
#define DN_TRAIN_SAMPLE_H

#include "data/geometry.h"
#include "train/augment.h"
#include "train/picture.h"

/* A classifier's view: see class_sample.h. */
typedef struct dn_crop {
    int32_t shortest, longest; /* of the image's shorter side; 0: the middle, nothing at random */
    float angle, aspect;       /* Darknet's ranges */
} dn_crop;

typedef struct dn_sample_options {
    int32_t width, height; /* of the network's input */
    bool stretch;          /* no letterbox */
    dn_augment augment;
    dn_crop crop;           /* of data sets whose images have classes */
    float label_smooth_eps; /* of these, too */
    uint64_t seed;
} dn_sample_options;

enum { DN_SAMPLE_IMAGES = 8 }; /* a mosaic's four, each with another one's objects pasted in */

/* Everything a sample owns but its pixels; reused for the next one, freed with dn_sample_free. */
typedef struct dn_sample {
    dn_truth truth;
    dn_truth_object *objects; /* (truth.object_count) */
    dn_rle *masks;            /* (truth.object_count), one an object; empty for boxes */
    int64_t capacity;         /* objects that both have room for */
    float *values;            /* (classes) of a classifier: sum 1; else NULL */
    int32_t image_count;
    int64_t images[DN_SAMPLE_IMAGES]; /* indices in the data set: whose sample it is, then others */
} dn_sample;

/* Loads sample `number`, which shows image `image` of the data set and, as the options say, others,
 * into `input`, planar (3, height, width). */
dn_status dn_sample_load(const dn_picture_source *source, const dn_sample_options *options,
                         int64_t image, int64_t number, float *input, dn_sample *sample);
void dn_sample_free(dn_sample *sample);

#endif
