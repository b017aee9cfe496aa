/* One training sample of a classifier: see class_sample.h.
 *
 * Two things differ from Darknet's: the aspect divides the width where the shorter side is
 * measured, so that the side does have the drawn length, and the vertical shift is that of the
 * height.
 */
#include "train/class_sample.h"

#include "core/memory.h"
#include "data/image.h"
#include "train/colours.h"

#include <math.h>

static const double degree = .017453292519943295;

dn_crop dn_crop_of(const dn_network *network, bool plain)
{
    const dn_net_options *net = &network->net;
    if (plain) return (dn_crop){0};
    dn_crop crop = {
        .shortest = net->min_crop > 0 ? net->min_crop : network->input.w,
        .longest = net->max_crop > 0 ? net->max_crop : 2 * network->input.w,
        .angle = net->angle,
        .aspect = net->aspect,
    };
    if (crop.longest < crop.shortest) crop.longest = crop.shortest;
    return crop;
}

static dn_image_map random_map(const dn_sample_options *options, const dn_image *image, dn_rng *rng)
{
    const dn_crop *crop = &options->crop;
    const double w = options->width, h = options->height;
    const double aspect = (double)dn_random_factor(rng, crop->aspect);
    const double side = crop->shortest + dn_rng_below(rng, crop->longest - crop->shortest + 1);
    const double scale = side / fmin(image->height, image->width / aspect);
    const double angle = degree * (double)dn_rng_uniform(rng, -crop->angle, crop->angle);
    const double across = aspect / scale, down = 1 / scale; /* image pixels of a network pixel */
    const double shift_x = (double)dn_rng_uniform(rng, -.5f, .5f) * (image->width / across - w);
    const double shift_y = (double)dn_rng_uniform(rng, -.5f, .5f) * (image->height / down - h);
    const bool mirrored = options->augment.flip && dn_rng_uniform(rng, 0, 1) < 0.5f;
    const double cosine = cos(angle), sine = sin(angle);
    const double mirror = mirrored ? -1 : 1;
    const double left = (shift_x - mirror * .5 * w) * across, top = (shift_y - .5 * h) * down;
    return (dn_image_map){
        .xx = cosine * across * mirror,
        .xy = -sine * down,
        .x0 = cosine * left - sine * top + .5 * image->width,
        .yx = sine * across * mirror,
        .yy = cosine * down,
        .y0 = sine * left + cosine * top + .5 * image->height,
    };
}

static dn_status fill_pixels(const dn_sample_options *options, const dn_image *image, dn_rng *rng,
                             float *input)
{
    if (options->crop.shortest == 0) {
        const dn_letterbox middle =
            dn_letterbox_crop(image->width, image->height, options->width, options->height);
        return dn_image_to_input(image, &middle, 1, input);
    }
    const dn_image_map map = random_map(options, image, rng);
    dn_image_sample_map(image, &map, options->width, options->height, input);
    dn_random_colours(&options->augment, rng, input, (int64_t)options->width * options->height);
    return DN_OK;
}

/* (1 - eps) of the class itself, and eps of all (Szegedy et al. 2016). */
static dn_status fill_truth(const dn_dataset_view *view, int64_t image, float eps,
                            dn_sample *sample)
{
    const int32_t count = view->class_count;
    if (!sample->values) sample->values = dn_alloc((size_t)count * sizeof *sample->values);
    if (!sample->values) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < count; i++) sample->values[i] = eps / (float)count;
    sample->values[view->images[image].class_id] += 1 - eps;
    sample->images[0] = image;
    sample->image_count = 1;
    sample->truth = (dn_truth){.values = sample->values};
    return DN_OK;
}

dn_status dn_class_sample_load(const dn_picture_source *source, const dn_sample_options *options,
                               int64_t image, int64_t number, float *input, dn_sample *sample)
{
    dn_picture picture;
    DN_TRY(dn_picture_load(source, image, NULL, &picture));
    dn_rng rng = dn_rng_make(options->seed, (uint64_t)number, 0, DN_RNG_AUGMENT);
    dn_status status = fill_pixels(options, &picture.image, &rng, input);
    if (status == DN_OK)
        status = fill_truth(dn_dataset_get(source->dataset), picture.index,
                            options->label_smooth_eps, sample);
    dn_picture_free(&picture);
    return status;
}
