/* Views: see view.h.
 *
 * Every view is an axis-aligned map, so that boxes stay boxes and masks need not be resampled.
 * Three kinds: the sides' jitter of Darknet (the heads' `jitter` and `resize`), the zoom and shift
 * of the mask stage (mask_jitter), and large-scale jitter (Ghiasi et al. 2021).
 */
#include "train/view.h"

/* A jittered crop keeps at least this share of each side. */
static const float smallest_crop = 0.1f;

static dn_box whole_image(const dn_letterbox *letterbox)
{
    return (dn_box){0, 0, (float)letterbox->image_w, (float)letterbox->image_h};
}

/* The pixels that one axis' two sides lose; negative: gain. */
typedef struct dn_trim {
    float before, behind;
} dn_trim;

static dn_trim trimmed(float size, float jitter, const float shares[2], dn_rng *rng)
{
    dn_trim trim;
    trim.before = size * (dn_rng_uniform(rng, -jitter, jitter) + shares[0]);
    trim.behind = size * (dn_rng_uniform(rng, -jitter, jitter) + shares[1]);
    const float most = (1.0f - smallest_crop) * size, both = trim.before + trim.behind;
    if (both > most) {
        trim.before *= most / both;
        trim.behind *= most / both;
    }
    return trim;
}

/* Darknet's crop (AlexeyAB): each side moves by up to jitter of its length; `resize` adds a share,
 * one for left and top, one for right and bottom, of which a range is a zoom by resize or its
 * inverse. What the crop cuts out takes the place that the whole image has without it, so that the
 * aspect changes too. */
static dn_affine crop(const dn_augment *augment, const dn_letterbox *letterbox, dn_rng *rng)
{
    const float width = (float)letterbox->image_w, height = (float)letterbox->image_h;
    const dn_box place = dn_letterbox_to_net(letterbox, whole_image(letterbox));
    const float grown = fmaxf(augment->resize, 1.0f / augment->resize);
    const float least = 0.5f * (1.0f - grown);
    const float most = augment->resize > 1.0f ? 0.5f * (1.0f - 1.0f / grown) : 0.0f;
    const float shares[2] = {dn_rng_uniform(rng, least, most), dn_rng_uniform(rng, least, most)};
    const dn_trim x = trimmed(width, augment->jitter, shares, rng);
    const dn_trim y = trimmed(height, augment->jitter, shares, rng);
    return dn_affine_between(place,
                             (dn_box){x.before, y.before, width - x.behind, height - y.behind});
}

/* The view through a window: net = (net' - centre) / zoom + centre - shift. */
static dn_affine shake(dn_affine view, float amount, float width, float height, dn_rng *rng)
{
    const float range = logf(1.0f + amount);
    const float zoom = expf(dn_rng_uniform(rng, -range, range));
    const float aspect = expf(dn_rng_uniform(rng, -range, range) * 0.25f);
    const float zoom_x = zoom * aspect, zoom_y = zoom / aspect;
    const float centre_x = 0.5f * width, centre_y = 0.5f * height;
    const float shift_x = dn_rng_uniform(rng, -amount, amount) * centre_x;
    const float shift_y = dn_rng_uniform(rng, -amount, amount) * centre_y;
    view.offset_x += view.scale_x * (centre_x - shift_x - centre_x / zoom_x);
    view.offset_y += view.scale_y * (centre_y - shift_y - centre_y / zoom_y);
    view.scale_x /= zoom_x;
    view.scale_y /= zoom_y;
    return view;
}

/* Large-scale jitter: a zoom of the letterbox, anywhere in the input. */
static dn_affine zoom(const dn_augment *augment, const dn_letterbox *letterbox, dn_rng *rng)
{
    const dn_box whole = whole_image(letterbox);
    const dn_box input = {0, 0, (float)letterbox->net_w, (float)letterbox->net_h};
    const float factor = dn_rng_uniform(rng, augment->zoom_min, augment->zoom_max);
    const dn_box place = dn_box_scale(dn_letterbox_to_net(letterbox, whole), factor, factor);
    return dn_view_place(dn_affine_between(place, whole), letterbox, input, rng);
}

dn_affine dn_view_random(const dn_augment *augment, const dn_letterbox *letterbox, dn_rng *rng)
{
    dn_affine view;
    if (augment->zoom_max > 0.0f)
        view = zoom(augment, letterbox, rng);
    else if (augment->jitter > 0.0f || augment->resize != 1.0f)
        view = crop(augment, letterbox, rng);
    else
        view = shake(dn_affine_from_letterbox(letterbox), augment->shake, (float)letterbox->net_w,
                     (float)letterbox->net_h, rng);
    const bool mirrored = augment->flip && dn_rng_uniform(rng, 0, 1) < 0.5f;
    return mirrored ? dn_affine_flip_x(view, letterbox->net_w) : view;
}

dn_affine dn_view_place(dn_affine view, const dn_letterbox *letterbox, dn_box area, dn_rng *rng)
{
    const dn_box lies = dn_affine_to_net(&view, whole_image(letterbox));
    const float x = dn_rng_uniform(rng, area.x0 - lies.x0, area.x1 - lies.x1);
    const float y = dn_rng_uniform(rng, area.y0 - lies.y0, area.y1 - lies.y1);
    view.offset_x -= view.scale_x * x;
    view.offset_y -= view.scale_y * y;
    return view;
}
