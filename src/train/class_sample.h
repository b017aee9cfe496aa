/* One training sample of a classifier: a random view of an image, and the class as a one-hot row.
 *
 * The view is Darknet's: the image is scaled so that its shorter side has a random length in
 * min_crop..max_crop, stretched by a random aspect, turned, shifted within what sticks out of the
 * input (or what is left of it: 0 there), mirrored, its colours changed.
 */
#ifndef DN_TRAIN_CLASS_SAMPLE_H
#define DN_TRAIN_CLASS_SAMPLE_H

#include "train/sample.h"

/* What the cfg asks for; `plain`: the middle of the image, as it is validated. */
dn_crop dn_crop_of(const dn_network *network, bool plain);

/* As dn_sample_load, of a data set whose images have classes. */
dn_status dn_class_sample_load(const dn_picture_source *source, const dn_sample_options *options,
                               int64_t image, int64_t number, float *input, dn_sample *sample);

#endif
