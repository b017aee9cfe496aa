/* Geometry: the letterbox, axis-aligned maps, boxes. See geometry.h.
 *
 * Sums that combine a map's fields are made in double and rounded once, so that a box comes back
 * through the letterbox of a 4096-pixel image within a hundredth of a pixel.
 */
#include "data/geometry.h"

#include <math.h>

static int32_t at_least_one(int64_t value)
{
    return value < 1 ? 1 : (int32_t)value;
}

dn_letterbox dn_letterbox_make(int32_t image_w, int32_t image_h, int32_t net_w, int32_t net_h,
                               bool stretch)
{
    dn_letterbox box = {
        .image_w = at_least_one(image_w),
        .image_h = at_least_one(image_h),
        .net_w = at_least_one(net_w),
        .net_h = at_least_one(net_h),
    };
    box.new_w = box.net_w;
    box.new_h = box.net_h;
    if (stretch) return box;
    /* net_w/image_w < net_h/image_h, compared as Darknet does: in float. The division after it cuts
     * to an integer, as Darknet's; a side that would vanish keeps one pixel. */
    if ((float)box.net_w / (float)box.image_w < (float)box.net_h / (float)box.image_h)
        box.new_h = at_least_one((int64_t)box.image_h * box.net_w / box.image_w);
    else
        box.new_w = at_least_one((int64_t)box.image_w * box.net_h / box.image_h);
    box.pad_x = (box.net_w - box.new_w) / 2;
    box.pad_y = (box.net_h - box.new_h) / 2;
    return box;
}

dn_letterbox dn_letterbox_crop(int32_t image_w, int32_t image_h, int32_t net_w, int32_t net_h)
{
    static const int64_t limit = 1 << 30; /* of a side; only images a few pixels high reach it */
    dn_letterbox box = dn_letterbox_make(image_w, image_h, net_w, net_h, true);
    const int64_t across = (int64_t)box.net_w * box.image_h,
                  down = (int64_t)box.net_h * box.image_w;
    int64_t side;
    if (across >= down) {
        side = across / box.image_w;
        box.new_h = (int32_t)(side < limit ? side : limit);
    } else {
        side = down / box.image_h;
        box.new_w = (int32_t)(side < limit ? side : limit);
    }
    box.pad_x = (box.net_w - box.new_w) / 2;
    box.pad_y = (box.net_h - box.new_h) / 2;
    return box;
}

static float to_net(float x, int32_t new_size, int32_t image_size, int32_t pad)
{
    return (float)((double)x * new_size / image_size + pad);
}

static float to_image(float x, int32_t new_size, int32_t image_size, int32_t pad)
{
    return (float)(((double)x - (double)pad) * image_size / new_size);
}

dn_box dn_letterbox_to_net(const dn_letterbox *letterbox, dn_box image_box)
{
    const dn_letterbox *l = letterbox;
    return (dn_box){to_net(image_box.x0, l->new_w, l->image_w, l->pad_x),
                    to_net(image_box.y0, l->new_h, l->image_h, l->pad_y),
                    to_net(image_box.x1, l->new_w, l->image_w, l->pad_x),
                    to_net(image_box.y1, l->new_h, l->image_h, l->pad_y)};
}

dn_box dn_letterbox_to_image(const dn_letterbox *letterbox, dn_box net_box)
{
    const dn_letterbox *l = letterbox;
    return (dn_box){to_image(net_box.x0, l->new_w, l->image_w, l->pad_x),
                    to_image(net_box.y0, l->new_h, l->image_h, l->pad_y),
                    to_image(net_box.x1, l->new_w, l->image_w, l->pad_x),
                    to_image(net_box.y1, l->new_h, l->image_h, l->pad_y)};
}

dn_affine dn_affine_from_letterbox(const dn_letterbox *letterbox)
{
    const dn_letterbox *l = letterbox;
    const dn_box net = {(float)l->pad_x, (float)l->pad_y, (float)(l->pad_x + l->new_w),
                        (float)(l->pad_y + l->new_h)};
    return dn_affine_between(net, (dn_box){0, 0, (float)l->image_w, (float)l->image_h});
}

dn_affine dn_affine_between(dn_box net, dn_box image)
{
    const double x = ((double)image.x1 - (double)image.x0) / ((double)net.x1 - (double)net.x0);
    const double y = ((double)image.y1 - (double)image.y0) / ((double)net.y1 - (double)net.y0);
    return (dn_affine){(float)x, (float)y, (float)((double)image.x0 - x * (double)net.x0),
                       (float)((double)image.y0 - y * (double)net.y0)};
}

/* scale * x + offset */
static float forwards(float x, float scale, float offset)
{
    return (float)((double)scale * (double)x + (double)offset);
}

static float backwards(float x, float scale, float offset)
{
    return (float)(((double)x - (double)offset) / (double)scale);
}

/* net_x becomes net_w - net_x. */
dn_affine dn_affine_flip_x(dn_affine affine, int32_t net_w)
{
    affine.offset_x = forwards((float)net_w, affine.scale_x, affine.offset_x);
    affine.scale_x = -affine.scale_x;
    return affine;
}

dn_affine dn_affine_flip_y(dn_affine affine, int32_t net_h)
{
    affine.offset_y = forwards((float)net_h, affine.scale_y, affine.offset_y);
    affine.scale_y = -affine.scale_y;
    return affine;
}

/* A mirroring map swaps a box's sides; this puts them right again. */
static dn_box ordered(dn_box box)
{
    return (dn_box){fminf(box.x0, box.x1), fminf(box.y0, box.y1), fmaxf(box.x0, box.x1),
                    fmaxf(box.y0, box.y1)};
}

dn_box dn_affine_to_image(const dn_affine *affine, dn_box net_box)
{
    return ordered((dn_box){forwards(net_box.x0, affine->scale_x, affine->offset_x),
                            forwards(net_box.y0, affine->scale_y, affine->offset_y),
                            forwards(net_box.x1, affine->scale_x, affine->offset_x),
                            forwards(net_box.y1, affine->scale_y, affine->offset_y)});
}

dn_box dn_affine_to_net(const dn_affine *affine, dn_box image_box)
{
    return ordered((dn_box){backwards(image_box.x0, affine->scale_x, affine->offset_x),
                            backwards(image_box.y0, affine->scale_y, affine->offset_y),
                            backwards(image_box.x1, affine->scale_x, affine->offset_x),
                            backwards(image_box.y1, affine->scale_y, affine->offset_y)});
}

float dn_box_area(dn_box box)
{
    return dn_area_of(box);
}

float dn_box_iou(dn_box a, dn_box b)
{
    return dn_iou_of(a, b);
}

float dn_box_giou(dn_box a, dn_box b)
{
    return dn_giou_of(a, b);
}

float dn_box_diou(dn_box a, dn_box b, float beta)
{
    return dn_diou_of(a, b, beta);
}

float dn_box_ciou(dn_box a, dn_box b)
{
    return dn_ciou_of(a, b);
}

static float clamp(float value, float limit)
{
    return fminf(fmaxf(value, 0), limit);
}

dn_box dn_box_clip(dn_box box, float width, float height)
{
    return (dn_box){clamp(box.x0, width), clamp(box.y0, height), clamp(box.x1, width),
                    clamp(box.y1, height)};
}

dn_box dn_box_expand(dn_box box, float amount)
{
    return dn_box_enlarged(box, amount);
}
