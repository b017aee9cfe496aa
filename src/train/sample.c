/* One training sample: see sample.h.
 *
 * What it is made of is drawn first: a mosaic in half of the cases where the options ask for it, a
 * mixup in half of the rest. A mosaic's images meet at a point that is drawn from the middle 60 %
 * of each axis. Each shows in the size of a sample of its own and is moved so that it fills its
 * tile, as far as it can.
 */
#include "train/sample.h"

#include "core/memory.h"
#include "train/colours.h"
#include "train/copy_paste.h"
#include "train/truth.h"
#include "train/view.h"

#include <string.h>

enum { DN_TILES = 4 };

/* Of a mosaic's axis, the least share on each side of the meeting point. */
static const float smallest_tile = 0.2f;

/* A sample while it is made. */
typedef struct dn_making {
    const dn_picture_source *source;
    const dn_sample_options *options;
    int64_t number;
    float *input; /* (3, height, width) */
    dn_sample *sample;
} dn_making;

static dn_status reserve(dn_sample *sample, int32_t more)
{
    const size_t count = (size_t)sample->truth.object_count, wanted = count + (size_t)more;
    if ((int64_t)wanted <= sample->capacity) return DN_OK;
    dn_truth_object *objects =
        dn_realloc(sample->objects, count * sizeof *objects, wanted * sizeof *objects);
    if (objects) sample->objects = objects;
    dn_rle *masks = dn_realloc(sample->masks, count * sizeof *masks, wanted * sizeof *masks);
    if (masks) sample->masks = masks;
    if (!objects || !masks) return DN_ERROR_MEMORY;
    sample->capacity = (int64_t)wanted;
    return DN_OK;
}

/* Appends the objects that show; their masks move to the sample. */
static dn_status add_objects(dn_picture *picture, const dn_tile *tile, dn_sample *sample)
{
    DN_TRY(reserve(sample, picture->object_count));
    for (int32_t i = 0; i < picture->object_count; i++) {
        dn_picture_object *object = &picture->objects[i];
        const int32_t at = sample->truth.object_count;
        if (!dn_truth_of(picture, object, tile, &sample->objects[at])) continue;
        sample->masks[at] = object->mask;
        object->mask = (dn_rle){0};
        sample->truth.object_count++;
    }
    return DN_OK;
}

/* Where a tile begins in the input. */
static size_t first_pixel(const dn_making *making, const dn_tile *tile)
{
    return (size_t)tile->area.y0 * (size_t)making->options->width + (size_t)tile->area.x0;
}

/* Puts a tile's pixels, planar (3, height, width), into the input; or the mean of both there. */
static void lay(const dn_making *making, const dn_tile *tile, bool mean, const float *pixels)
{
    const size_t stride = (size_t)making->options->width;
    const size_t plane = stride * (size_t)making->options->height;
    const size_t width = (size_t)(tile->area.x1 - tile->area.x0);
    const size_t height = (size_t)(tile->area.y1 - tile->area.y0);
    for (size_t c = 0; c < 3; c++) {
        float *to = making->input + c * plane + first_pixel(making, tile);
        for (size_t y = 0; y < height; y++, to += stride, pixels += width) {
            if (!mean) memcpy(to, pixels, width * sizeof *to);
            for (size_t x = 0; mean && x < width; x++) to[x] = 0.5f * (to[x] + pixels[x]);
        }
    }
}

/* From the tile's pixels to those that were decoded. */
static dn_affine view_of_pixels(const dn_picture *picture, const dn_tile *tile)
{
    const float part = 1.0f / (float)picture->shrink;
    const dn_affine *view = &tile->view;
    return (dn_affine){view->scale_x * part, view->scale_y * part,
                       (view->offset_x + view->scale_x * tile->area.x0) * part,
                       (view->offset_y + view->scale_y * tile->area.y0) * part};
}

/* Draws a picture into its tile, in random colours. */
static dn_status draw(const dn_making *making, const dn_picture *picture, const dn_tile *tile,
                      bool mean, dn_rng *rng)
{
    const int32_t width = (int32_t)(tile->area.x1 - tile->area.x0);
    const int32_t height = (int32_t)(tile->area.y1 - tile->area.y0);
    const int64_t count = (int64_t)width * height;
    const dn_affine view = view_of_pixels(picture, tile);
    float *pixels = dn_alloc((size_t)count * 3 * sizeof *pixels);
    if (!pixels) return DN_ERROR_MEMORY;
    const dn_status status =
        dn_image_sample(&picture->image, &view, width, height, 0.5f, 1, pixels);
    if (status == DN_OK) {
        dn_random_colours(&making->options->augment, rng, pixels, count);
        lay(making, tile, mean, pixels);
    }
    dn_free(pixels);
    return status;
}

/* Any image but this one, where there is another. */
static int64_t another_image(const dn_making *making, int64_t image, dn_rng *rng)
{
    const int64_t count = dn_dataset_get(making->source->dataset)->image_count;
    const int32_t others = (int32_t)(count <= INT32_MAX ? count - 1 : INT32_MAX);
    return others > 0 ? (image + 1 + dn_rng_below(rng, others)) % count : image;
}

static void note_image(dn_sample *sample, int64_t image)
{
    if (sample->image_count < DN_SAMPLE_IMAGES) sample->images[sample->image_count++] = image;
}

/* Pastes objects of another image into the picture. */
static dn_status paste(const dn_making *making, dn_picture *picture, dn_rng *rng)
{
    dn_picture other;
    DN_TRY(
        dn_picture_load(making->source, another_image(making, picture->index, rng), NULL, &other));
    note_image(making->sample, other.index);
    const dn_status status = dn_copy_paste(picture, &other, making->options->augment.flip, rng);
    dn_picture_free(&other);
    return status;
}

/* A picture's place in the sample, and what is drawn for it. */
typedef struct dn_placing {
    const dn_making *making;
    int32_t place; /* in the sample: 0, 1, ... */
    dn_tile tile;
    dn_rng view, paste; /* streams of random numbers */
    bool pastes;
} dn_placing;

static dn_placing place_at(const dn_making *making, int32_t place, dn_box area)
{
    const dn_sample_options *options = making->options;
    const dn_box input = {0, 0, (float)options->width, (float)options->height};
    dn_placing placing = {.making = making, .place = place, .tile = {.area = area}};
    placing.tile.limit = options->augment.mosaic_bound ? area : input;
    placing.paste =
        dn_rng_make(options->seed, (uint64_t)making->number, (uint64_t)place, DN_RNG_PASTE);
    placing.pastes = dn_rng_uniform(&placing.paste, 0, 1) < options->augment.copy_paste;
    return placing;
}

/* Draws the view of an image of this size. What it makes small need not be decoded in full; objects
 * are pasted into whole pictures. */
static int32_t choose_view(void *context, int32_t width, int32_t height)
{
    dn_placing *placing = context;
    const dn_making *making = placing->making;
    const dn_sample_options *options = making->options;
    const dn_box area = placing->tile.area;
    const bool is_part = area.x1 - area.x0 < (float)options->width;
    const dn_letterbox letterbox =
        dn_letterbox_make(width, height, options->width, options->height, options->stretch);
    placing->view = dn_rng_make(options->seed, (uint64_t)making->number, (uint64_t)placing->place,
                                DN_RNG_AUGMENT);
    dn_affine view = dn_view_random(&options->augment, &letterbox, &placing->view);
    if (is_part) view = dn_view_place(view, &letterbox, area, &placing->view);
    placing->tile.view = view;
    const float scale = fminf(fabsf(view.scale_x), fabsf(view.scale_y));
    if (placing->pastes || scale < 2.0f) return 1;
    return scale < 4.0f ? 2 : scale < 8.0f ? 4 : 8;
}

/* What the sample shows in `area`: image `index`. */
static dn_status add_picture(const dn_making *making, int32_t place, int64_t index, dn_box area,
                             bool mean)
{
    dn_placing placing = place_at(making, place, area);
    const dn_shrink_rule rule = {choose_view, &placing};
    dn_picture picture;
    dn_status status;
    DN_TRY(dn_picture_load(making->source, index, &rule, &picture));
    note_image(making->sample, picture.index);
    if (placing.pastes) DN_TRY_GOTO(paste(making, &picture, &placing.paste));
    DN_TRY_GOTO(draw(making, &picture, &placing.tile, mean, &placing.view));
    DN_TRY_GOTO(add_objects(&picture, &placing.tile, making->sample));
done:
    dn_picture_free(&picture);
    return status;
}

/* A whole number of pixels from the middle of 0..size. */
static float meeting_point(int32_t size, dn_rng *rng)
{
    return roundf((float)size * dn_rng_uniform(rng, smallest_tile, 1.0f - smallest_tile));
}

static dn_status add_mosaic(const dn_making *making, int64_t image, dn_rng *rng)
{
    const float width = (float)making->options->width, height = (float)making->options->height;
    const float x = meeting_point(making->options->width, rng);
    const float y = meeting_point(making->options->height, rng);
    const dn_box areas[DN_TILES] = {
        {0, 0, x, y}, {x, 0, width, y}, {0, y, x, height}, {x, y, width, height}};
    DN_TRY(add_picture(making, 0, image, areas[0], false));
    for (int32_t i = 1; i < DN_TILES; i++)
        DN_TRY(add_picture(making, i, another_image(making, image, rng), areas[i], false));
    return DN_OK;
}

static dn_status make(const dn_making *making, int64_t image)
{
    const dn_sample_options *options = making->options;
    const dn_augment *augment = &options->augment;
    const dn_box whole = {0, 0, (float)options->width, (float)options->height};
    dn_rng rng = dn_rng_make(options->seed, (uint64_t)making->number, 0, DN_RNG_COMPOSE);
    const bool is_mosaic = augment->mosaic && dn_rng_uniform(&rng, 0, 1) < 0.5f;
    if (is_mosaic && options->width > DN_TILES && options->height > DN_TILES)
        return add_mosaic(making, image, &rng);
    DN_TRY(add_picture(making, 0, image, whole, false));
    if (augment->mixup && dn_rng_uniform(&rng, 0, 1) < 0.5f)
        return add_picture(making, 1, another_image(making, image, &rng), whole, true);
    return DN_OK;
}

static void drop_masks(dn_sample *sample)
{
    for (int32_t i = 0; i < sample->truth.object_count; i++) dn_rle_free(&sample->masks[i]);
    sample->truth.object_count = 0;
}

dn_status dn_sample_load(const dn_picture_source *source, const dn_sample_options *options,
                         int64_t image, int64_t number, float *input, dn_sample *sample)
{
    const dn_making making = {source, options, number, input, sample};
    drop_masks(sample);
    sample->image_count = 0;
    DN_TRY(make(&making, image));
    for (int32_t i = 0; i < sample->truth.object_count; i++)
        sample->objects[i].mask = sample->masks[i].run_count > 0 ? &sample->masks[i] : NULL;
    sample->truth.objects = sample->objects;
    return DN_OK;
}

void dn_sample_free(dn_sample *sample)
{
    drop_masks(sample);
    dn_free(sample->objects);
    dn_free(sample->masks);
    dn_free(sample->values);
    *sample = (dn_sample){0};
}
