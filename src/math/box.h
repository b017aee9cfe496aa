/* Boxes, one pair: area, IoU and its relatives. The public functions (darknet.h, dn_box_iou and so
 * on; data/geometry.c) and the losses of the heads are made of these.
 *
 * IoU = I / U, areas of intersection and union; GIoU (Rezatofighi et al. 2019) = IoU - (C - U) / C,
 * C the area of the box around both; CIoU (Zheng et al. 2020) = IoU - d^2 / c^2 - alpha v. A box of
 * nothing overlaps nothing.
 */
#ifndef DN_MATH_BOX_H
#define DN_MATH_BOX_H

#include "darknet.h"
#include "math/portable.h"

/* A box of nothing (no area, or corners that are not numbers). */
DN_HD bool dn_box_is_empty(dn_box box)
{
    return !(box.x1 > box.x0 && box.y1 > box.y0);
}

/* The box of centre (x, y) and size w x h. */
DN_HD dn_box dn_box_from_centre(float x, float y, float w, float h)
{
    const dn_box box = {x - .5f * w, y - .5f * h, x + .5f * w, y + .5f * h};
    return box;
}

/* The box with all coordinates multiplied by (x, y): fractions to pixels, one size to another. */
DN_HD dn_box dn_box_scale(dn_box box, float x, float y)
{
    const dn_box scaled = {box.x0 * x, box.y0 * y, box.x1 * x, box.y1 * y};
    return scaled;
}

/* Enlarged about its centre: w' = w (1 + amount), h alike. */
DN_HD dn_box dn_box_enlarged(dn_box box, float amount)
{
    const float x = .5f * amount * (box.x1 - box.x0), y = .5f * amount * (box.y1 - box.y0);
    const dn_box enlarged = {box.x0 - x, box.y0 - y, box.x1 + x, box.y1 + y};
    return enlarged;
}

/* What both boxes cover; empty where they do not meet. */
DN_HD dn_box dn_box_common(dn_box a, dn_box b)
{
    const dn_box common = {fmaxf(a.x0, b.x0), fmaxf(a.y0, b.y0), fminf(a.x1, b.x1),
                           fminf(a.y1, b.y1)};
    return common;
}

/* The smallest box around both. */
DN_HD dn_box dn_box_around(dn_box a, dn_box b)
{
    const dn_box around = {fminf(a.x0, b.x0), fminf(a.y0, b.y0), fmaxf(a.x1, b.x1),
                           fmaxf(a.y1, b.y1)};
    return around;
}

DN_HD float dn_area_of(dn_box box)
{
    return dn_box_is_empty(box) ? 0 : (box.x1 - box.x0) * (box.y1 - box.y0);
}

DN_HD float dn_iou_of(dn_box a, dn_box b)
{
    const float both = dn_area_of(dn_box_common(a, b));
    const float either = dn_area_of(a) + dn_area_of(b) - both;
    return both > 0 && either > 0 ? both / either : 0;
}

DN_HD float dn_giou_of(dn_box a, dn_box b)
{
    const float around = dn_area_of(dn_box_around(a, b));
    const float either = dn_area_of(a) + dn_area_of(b) - dn_area_of(dn_box_common(a, b));
    const float iou = dn_iou_of(a, b);
    return around > 0 ? iou - (around - either) / around : iou;
}

/* d^2 / c^2: the centres' squared distance over the squared diagonal of the box around both. */
DN_HD float dn_centre_distance_of(dn_box a, dn_box b)
{
    const dn_box around = dn_box_around(a, b);
    const float width = around.x1 - around.x0, height = around.y1 - around.y0;
    const float x = .5f * (a.x0 + a.x1 - b.x0 - b.x1), y = .5f * (a.y0 + a.y1 - b.y0 - b.y1);
    const float diagonal = width * width + height * height;
    return diagonal > 0 ? (x * x + y * y) / diagonal : 0;
}

DN_HD float dn_diou_of(dn_box a, dn_box b, float beta)
{
    return dn_iou_of(a, b) - powf(dn_centre_distance_of(a, b), beta);
}

DN_HD float dn_ciou_of(dn_box a, dn_box b)
{
    /* v = 4/pi^2 (atan(w_b/h_b) - atan(w_a/h_a))^2, alpha = v / (1 - IoU + v + 1e-6) */
    const float iou = dn_iou_of(a, b);
    const float angle = atan2f(b.x1 - b.x0, b.y1 - b.y0) - atan2f(a.x1 - a.x0, a.y1 - a.y0);
    const float v = .405284735f * angle * angle; /* 4/pi^2 = .405284735 */
    const float alpha = v / (1 - iou + v + 1e-6f);
    return iou - (dn_centre_distance_of(a, b) + alpha * v);
}

#endif
