/* Views: see view.h.
 *
 * Every view is an axis-aligned map, so that boxes stay boxes and masks need not be resampled.
 * Three kinds: the sides' jitter of Darknet (the heads' `jitter` and `resize`), the zoom and shift
 * of the mask stage (mask_jitter), and large-scale jitter (Ghiasi et al. 2021).
 */
#include "train/view.h"

/* A jittered crop keeps at least this share of each side. */
static const float smallest_crop = 0.1f;

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
static dn_affine crop(const dn_augment *augment, const dn_image *image, dn_box place, dn_rng *rng)
{
    const float width = (float)image->width, height = (float)image->height;
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

dn_affine dn_view_random(const dn_augment *augment, const dn_image *image, int32_t width,
                         int32_t height, bool stretch, dn_rng *rng)
{
    const dn_letterbox letterbox =
        dn_letterbox_make(image->width, image->height, width, height, stretch);
    const dn_box whole = {0, 0, (float)image->width, (float)image->height};
    const dn_box input = {0, 0, (float)width, (float)height};
    const dn_box place = dn_letterbox_to_net(&letterbox, whole);
    dn_affine view = dn_affine_from_letterbox(&letterbox);
    if (augment->zoom_max > 0.0f) {
        const float zoom = dn_rng_uniform(rng, augment->zoom_min, augment->zoom_max);
        view = dn_affine_between(dn_box_scale(place, zoom, zoom), whole);
        view = dn_view_place(view, image, input, rng);
    } else if (augment->jitter > 0.0f || augment->resize != 1.0f) {
        view = crop(augment, image, place, rng);
    } else {
        view = shake(view, augment->shake, (float)width, (float)height, rng);
    }
    const bool mirrored = augment->flip && dn_rng_uniform(rng, 0, 1) < 0.5f;
    return mirrored ? dn_affine_flip_x(view, width) : view;
}

dn_affine dn_view_place(dn_affine view, const dn_image *image, dn_box area, dn_rng *rng)
{
    const dn_box whole = {0, 0, (float)image->width, (float)image->height};
    const dn_box lies = dn_affine_to_net(&view, whole);
    const float x = dn_rng_uniform(rng, area.x0 - lies.x0, area.x1 - lies.x1);
    const float y = dn_rng_uniform(rng, area.y0 - lies.y0, area.y1 - lies.y1);
    view.offset_x -= view.scale_x * x;
    view.offset_y -= view.scale_y * y;
    return view;
}
