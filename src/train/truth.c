/* What of an object shows in a sample: see truth.h.
 *
 * An object that shows as a whole has its labelled box. Of one that is cut, by the border of its
 * tile or by something pasted over it, the box is the smallest one around what remains of its mask;
 * without a mask, the part of its box that shows. An object of which less than a tenth remains, or
 * less than a pixel's width or height, teaches nothing and is left out; of crowds, which are
 * regions to ignore, all that remains is kept.
 */
#include "train/truth.h"

#include "data/geometry.h"
#include "data/rle.h"

#include <math.h>

static const float smallest_share = 0.1f;

static dn_box intersect(dn_box a, dn_box b)
{
    return (dn_box){fmaxf(a.x0, b.x0), fmaxf(a.y0, b.y0), fminf(a.x1, b.x1), fminf(a.y1, b.y1)};
}

/* But for the rounding of maps. */
static bool is_within(dn_box inner, dn_box outer)
{
    const float slack = 0.01f;
    return inner.x0 >= outer.x0 - slack && inner.y0 >= outer.y0 - slack &&
           inner.x1 <= outer.x1 + slack && inner.y1 <= outer.y1 + slack;
}

/* The share of the object that shows; *box, in network pixels, is around it. */
static float show_mask(const dn_picture *picture, const dn_picture_object *object,
                       const dn_tile *tile, dn_box *box)
{
    const dn_box seen = dn_box_clip(dn_affine_to_image(&tile->view, tile->area),
                                    (float)picture->width, (float)picture->height);
    const int32_t left = (int32_t)floorf(seen.x0), top = (int32_t)floorf(seen.y0);
    const int32_t window[4] = {left, top, (int32_t)ceilf(seen.x1) - left,
                               (int32_t)ceilf(seen.y1) - top};
    int32_t rest[4];
    const int64_t pixels = dn_rle_window(&object->mask, window, rest);
    if (pixels == 0) return 0;
    const dn_box around = {(float)rest[0], (float)rest[1], (float)(rest[0] + rest[2]),
                           (float)(rest[1] + rest[3])};
    const bool whole =
        !object->cut && pixels == dn_rle_area(&object->mask) && is_within(around, seen);
    const dn_box shown = whole ? object->box : intersect(around, seen);
    *box = intersect(dn_affine_to_net(&tile->view, shown), tile->area);
    return (float)pixels / object->size;
}

static float show_box(const dn_picture_object *object, const dn_tile *tile, dn_box *box)
{
    const dn_box whole = dn_affine_to_net(&tile->view, object->box);
    const float share = dn_box_area(intersect(whole, tile->area)) / dn_box_area(whole);
    *box = intersect(whole, tile->limit);
    return share * fmaxf(0, 1.0f - object->hidden / object->size);
}

bool dn_truth_of(const dn_picture *picture, const dn_picture_object *object, const dn_tile *tile,
                 dn_truth_object *out)
{
    *out = (dn_truth_object){
        .class_id = object->class_id,
        .crowd = object->crowd,
        .net_to_image = tile->view,
        .visible = tile->area,
    };
    const bool has_mask = object->mask.run_count > 0;
    const float share =
        has_mask ? show_mask(picture, object, tile, &out->box) : show_box(object, tile, &out->box);
    if (!(share > 0) || dn_box_is_empty(out->box)) return false;
    if (object->crowd) return true;
    return share >= smallest_share && out->box.x1 - out->box.x0 >= 1.0f &&
           out->box.y1 - out->box.y0 >= 1.0f;
}
