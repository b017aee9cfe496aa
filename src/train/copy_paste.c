/* Copy-paste: see copy_paste.h.
 *
 * Everything happens in the pixels of the image that is pasted into. One random map lays the other
 * image over it; of each chosen object the pixels whose centres fall into its mask are replaced by
 * the other image's (interpolated, or averaged where it shrinks). These pixels are the new object's
 * mask, and they are taken out of the masks that were there: labels and pixels agree exactly, and
 * the view that follows never resamples a mask.
 */
#include "train/copy_paste.h"

#include "core/memory.h"
#include "data/geometry.h"
#include "data/rle.h"
#include "train/view.h"

#include <math.h>
#include <string.h>

/* The pasted image's size, as a share of what fits into the other one. */
static const float smallest = 0.5f, largest = 1.5f;

/* The map from the pixels of `onto` to those of `from`. */
static dn_affine random_map(const dn_image *onto, const dn_image *from, bool flip, dn_rng *rng)
{
    const dn_augment augment = {.zoom_min = smallest, .zoom_max = largest, .flip = flip};
    const dn_letterbox letterbox =
        dn_letterbox_make(from->width, from->height, onto->width, onto->height, false);
    return dn_view_random(&augment, &letterbox, rng);
}

/* Lays one object over the picture; *pasted has no mask where nothing of it falls into the image.
 */
static dn_status lay(const dn_picture *picture, const dn_picture_object *object,
                     const dn_affine *map, dn_picture_object *pasted)
{
    const dn_image *image = &picture->image;
    dn_rle mask;
    DN_TRY(dn_rle_sample(&mask, &object->mask, map, (dn_box){0}, image->height, image->width));
    *pasted = *object;
    pasted->mask = mask;
    pasted->size = object->size / fabsf(map->scale_x * map->scale_y);
    pasted->cut = true;
    if (dn_rle_area(&mask) == 0) dn_rle_free(&pasted->mask);
    return DN_OK;
}

/* The objects of `from` to paste, each by a toss. */
static dn_status choose(const dn_picture *picture, const dn_picture *from, const dn_affine *map,
                        dn_rng *rng, dn_picture_object *chosen, int32_t *count)
{
    for (int32_t i = 0; i < from->object_count; i++) {
        const dn_picture_object *object = &from->objects[i];
        const bool wanted = dn_rng_uniform(rng, 0, 1) < 0.5f;
        if (!wanted || object->crowd || object->mask.run_count == 0) continue;
        DN_TRY(lay(picture, object, map, &chosen[*count]));
        if (chosen[*count].mask.run_count > 0) ++*count;
    }
    return DN_OK;
}

/* All pixels that are pasted: the union of the chosen objects' masks. */
static dn_status unite(const dn_picture_object *chosen, int32_t count, dn_rle *out)
{
    dn_rle *masks = dn_alloc((size_t)count * sizeof *masks);
    if (!masks) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < count; i++) masks[i] = chosen[i].mask;
    const dn_status status = dn_rle_merge(out, masks, count, DN_MASK_UNION);
    dn_free(masks);
    return status;
}

/* Takes the pasted pixels away from an object that was there. */
static dn_status cover(dn_picture_object *object, const dn_rle *pasted)
{
    if (object->mask.run_count == 0) {
        const dn_box seen = dn_box_clip(object->box, (float)pasted->width, (float)pasted->height);
        const int32_t left = (int32_t)floorf(seen.x0), top = (int32_t)floorf(seen.y0);
        const int32_t window[4] = {left, top, (int32_t)ceilf(seen.x1) - left,
                                   (int32_t)ceilf(seen.y1) - top};
        int32_t bounds[4];
        object->hidden = (float)dn_rle_window(pasted, window, bounds);
        return DN_OK;
    }
    const dn_rle both[2] = {object->mask, *pasted};
    dn_rle rest;
    DN_TRY(dn_rle_merge(&rest, both, 2, DN_MASK_DIFFERENCE));
    object->cut = object->cut || dn_rle_area(&rest) < dn_rle_area(&object->mask);
    dn_rle_free(&object->mask);
    object->mask = rest;
    return DN_OK;
}

/* Replaces the pixels of the mask by those of `from` seen through the map. */
static dn_status copy_pixels(dn_image *image, const dn_image *from, const dn_affine *map,
                             const dn_rle *mask)
{
    int32_t box[4];
    dn_rle_bounds(mask, box);
    const size_t width = (size_t)box[2], plane = width * (size_t)box[3];
    float *seen = dn_alloc(3 * plane * sizeof *seen); /* (3, height, width) of the box */
    if (!seen) return DN_ERROR_MEMORY;
    dn_affine shifted = *map;
    shifted.offset_x += map->scale_x * (float)box[0];
    shifted.offset_y += map->scale_y * (float)box[1];
    const dn_status status = dn_image_sample(from, &shifted, box[2], box[3], 0.5f, 1, seen);
    uint32_t pixel = 0;
    for (int64_t i = 0; i < mask->run_count && status == DN_OK; i++) {
        for (uint32_t end = pixel + mask->runs[i]; pixel < end; pixel++) {
            if (i % 2 == 0) continue;
            const size_t x = pixel / (uint32_t)mask->height, y = pixel % (uint32_t)mask->height;
            const float *value = seen + (y - (size_t)box[1]) * width + (x - (size_t)box[0]);
            uint8_t *to = image->data + (y * (size_t)image->width + x) * 3;
            for (size_t c = 0; c < 3; c++) to[c] = (uint8_t)lrintf(255.0f * value[c * plane]);
        }
    }
    dn_free(seen);
    return status;
}

/* Pastes the chosen objects, whose masks then belong to the picture. */
static dn_status paste(dn_picture *picture, const dn_picture *from, const dn_affine *map,
                       dn_picture_object *chosen, int32_t *count)
{
    dn_rle all;
    DN_TRY(unite(chosen, *count, &all));
    dn_status status = DN_OK;
    for (int32_t i = 0; i < *count && status == DN_OK; i++)
        status = copy_pixels(&picture->image, &from->image, map, &chosen[i].mask);
    for (int32_t i = 0; i < picture->object_count && status == DN_OK; i++)
        status = cover(&picture->objects[i], &all);
    dn_rle_free(&all);
    DN_TRY(status);
    const size_t before = (size_t)picture->object_count * sizeof *picture->objects;
    const size_t more = (size_t)*count * sizeof *picture->objects;
    dn_picture_object *objects = dn_realloc(picture->objects, before, before + more);
    if (!objects) return DN_ERROR_MEMORY;
    memcpy(objects + picture->object_count, chosen, more);
    picture->objects = objects;
    picture->object_count += *count;
    *count = 0;
    return DN_OK;
}

dn_status dn_copy_paste(dn_picture *picture, const dn_picture *from, bool flip, dn_rng *rng)
{
    const dn_affine map = random_map(&picture->image, &from->image, flip, rng);
    int32_t count = 0;
    dn_picture_object *chosen = dn_alloc((size_t)from->object_count * sizeof *chosen);
    if (!chosen) return DN_ERROR_MEMORY;
    dn_status status = choose(picture, from, &map, rng, chosen, &count);
    if (status == DN_OK && count > 0) status = paste(picture, from, &map, chosen, &count);
    for (int32_t i = 0; i < count; i++) dn_rle_free(&chosen[i].mask);
    dn_free(chosen);
    return status;
}
