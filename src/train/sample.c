/* One training sample: see sample.h. */
#include "train/sample.h"

#include "core/memory.h"
#include "core/rng.h"

/* Objects of which less than this share of the box is in view teach nothing. */
static const float smallest_view = 0.1f;

/* The letterbox seen through a window: net = (net' - centre) / zoom + centre - shift. */
static dn_affine random_view(const dn_sample_options *options, const dn_letterbox *letterbox,
                             dn_rng *rng)
{
    dn_affine view = dn_affine_from_letterbox(letterbox);
    const dn_augment *augment = &options->augment;
    const float range = logf(1.0f + augment->jitter);
    const float zoom = expf(dn_rng_uniform(rng, -range, range));
    const float aspect = expf(dn_rng_uniform(rng, -range, range) * 0.25f);
    const float zoom_x = zoom * aspect, zoom_y = zoom / aspect;
    const float centre_x = 0.5f * (float)options->width, centre_y = 0.5f * (float)options->height;
    const float shift_x = dn_rng_uniform(rng, -augment->jitter, augment->jitter) * centre_x;
    const float shift_y = dn_rng_uniform(rng, -augment->jitter, augment->jitter) * centre_y;
    view.offset_x += view.scale_x * (centre_x - shift_x - centre_x / zoom_x);
    view.offset_y += view.scale_y * (centre_y - shift_y - centre_y / zoom_y);
    view.scale_x /= zoom_x;
    view.scale_y /= zoom_y;
    const bool mirrored = augment->flip && dn_rng_uniform(rng, 0, 1) < 0.5f;
    return mirrored ? dn_affine_flip_x(view, options->width) : view;
}

/* A factor in 1/range..range, above and below 1 equally often. */
static float random_factor(dn_rng *rng, float range)
{
    const float factor = dn_rng_uniform(rng, 1.0f, range < 1.0f ? 1.0f : range);
    return dn_rng_uniform(rng, 0, 1) < 0.5f ? factor : 1.0f / factor;
}

static void random_colours(const dn_sample_options *options, dn_rng *rng, float *input)
{
    const dn_augment *augment = &options->augment;
    const float hue = dn_rng_uniform(rng, -augment->hue, augment->hue);
    const float saturation = random_factor(rng, augment->saturation);
    const float exposure = random_factor(rng, augment->exposure);
    if (hue == 0.0f && saturation == 1.0f && exposure == 1.0f) return;
    dn_image_hsv(input, (int64_t)options->width * options->height, hue, saturation, exposure, 1);
}

static void drop_masks(dn_sample *sample)
{
    for (int32_t i = 0; i < sample->capacity; i++) dn_rle_free(&sample->masks[i]);
    sample->truth.object_count = 0;
}

static dn_status reserve(dn_sample *sample, int32_t count)
{
    if (count <= sample->capacity) return DN_OK;
    dn_truth_object *objects = dn_alloc((size_t)count * sizeof *objects);
    dn_rle *masks = dn_alloc((size_t)count * sizeof *masks);
    if (!objects || !masks) {
        dn_free(objects);
        dn_free(masks);
        return DN_ERROR_MEMORY;
    }
    dn_free(sample->objects);
    dn_free(sample->masks);
    sample->objects = objects;
    sample->masks = masks;
    sample->capacity = count;
    return DN_OK;
}

/* Appends the object where enough of it is in view. */
static dn_status add_object(const dn_dataset *dataset, const dn_sample_options *options,
                            const dn_image *pixels, const dn_affine *view, int64_t index,
                            dn_sample *sample)
{
    const dn_dataset_object *object = &dn_dataset_get(dataset)->objects[index];
    const dn_box in_image = dn_dataset_box(object, pixels->width, pixels->height);
    const dn_box whole = dn_affine_to_net(view, in_image);
    const dn_box seen = dn_box_clip(whole, (float)options->width, (float)options->height);
    if (dn_box_is_empty(seen) || dn_box_area(seen) < smallest_view * dn_box_area(whole) ||
        seen.x1 - seen.x0 < 1.0f || seen.y1 - seen.y0 < 1.0f)
        return DN_OK;
    const int32_t at = sample->truth.object_count;
    dn_truth_object *truth = &sample->objects[at];
    *truth = (dn_truth_object){
        .box = seen,
        .class_id = object->class_id,
        .crowd = object->crowd,
        .net_to_image = *view,
    };
    if (object->kind != DN_OBJECT_BOX) {
        DN_TRY(dn_dataset_mask(dataset, sample->image, index, pixels->width, pixels->height,
                               &sample->masks[at]));
        truth->mask = &sample->masks[at];
    }
    sample->truth.object_count++;
    return DN_OK;
}

dn_status dn_sample_load(const dn_dataset *dataset, const dn_sample_options *options, int64_t image,
                         int64_t number, float *input, dn_sample *sample)
{
    const dn_dataset_image *info = &dn_dataset_get(dataset)->images[image];
    dn_image pixels = {0};
    drop_masks(sample);
    DN_TRY(dn_image_load(info->path, &pixels));
    dn_rng rng = dn_rng_make(options->seed, (uint64_t)number, 0, DN_RNG_AUGMENT);
    const dn_letterbox letterbox = dn_letterbox_make(pixels.width, pixels.height, options->width,
                                                     options->height, options->stretch);
    sample->image = image;
    const dn_affine view = random_view(options, &letterbox, &rng);
    dn_status status =
        dn_image_sample(&pixels, &view, options->width, options->height, 0.5f, 1, input);
    if (status == DN_OK) {
        random_colours(options, &rng, input);
        status = reserve(sample, (int32_t)info->object_count);
    }
    for (int64_t i = 0; i < info->object_count && status == DN_OK; i++)
        status = add_object(dataset, options, &pixels, &view, info->first_object + i, sample);
    sample->truth.objects = sample->objects;
    dn_image_free(&pixels);
    return status;
}

void dn_sample_free(dn_sample *sample)
{
    drop_masks(sample);
    dn_free(sample->objects);
    dn_free(sample->masks);
    *sample = (dn_sample){0};
}
