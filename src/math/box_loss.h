/* Gradients of the IoU family of box losses, one pair of boxes.
 *
 * The losses of a predicted box P against an object T: L = 1 - M with
 *   IoU   M = I / U;
 *   GIoU  M = I / U - (C - U) / C             (Rezatofighi et al. 2019);
 *   DIoU  M = I / U - S / D                   (Zheng et al. 2020);
 *   CIoU  M = I / U - S / D - a v,  v = 4 / pi^2 (atan(Tw / Th) - atan(Pw / Ph))^2,
 *                                   a = v / (1 - I / U + v), a constant for the gradient;
 * I and U are the areas of intersection and union, C that of the enclosing box, D its squared
 * diagonal, S the squared distance of the centres. Gradients are the derivatives of these formulas;
 * where sides coincide, that of the object's side. Sums in double: boxes may be tiny.
 */
#ifndef DN_MATH_BOX_LOSS_H
#define DN_MATH_BOX_LOSS_H

#include "darknet.h"
#include "math/portable.h"

typedef enum dn_box_loss {
    DN_BOX_MSE,
    DN_BOX_IOU,
    DN_BOX_GIOU,
    DN_BOX_DIOU,
    DN_BOX_CIOU
} dn_box_loss;

/* Along one axis: the sides of P, the object's and their gradients, dM/dlow and dM/dhigh. */
typedef struct dn_box_axis {
    double low, high;             /* of P */
    double other_low, other_high; /* of T */
    double both;                  /* length of the intersection, 0: none */
    double around;                /* length of the enclosing box */
    double grad_low, grad_high;
} dn_box_axis;

DN_HD dn_box_axis dn_box_axis_make(float low, float high, float other_low, float other_high)
{
    dn_box_axis axis;
    axis.low = (double)low;
    axis.high = (double)high;
    axis.other_low = (double)other_low;
    axis.other_high = (double)other_high;
    axis.both = fmin(axis.high, axis.other_high) - fmax(axis.low, axis.other_low);
    if (axis.both < 0.0) axis.both = 0.0;
    axis.around = fmax(axis.high, axis.other_high) - fmin(axis.low, axis.other_low);
    axis.grad_low = axis.grad_high = 0.0;
    return axis;
}

/* Adds the part of dM that comes through I, X (P's area) and C, whose derivatives are given; the
 * other axis has `across` of each as length. */
DN_HD void dn_box_axis_add(dn_box_axis *a, double by_both, double across_both, double by_area,
                           double across_area, double by_around, double across_around)
{
    if (a->low > a->other_low) a->grad_low -= by_both * across_both;
    if (a->high < a->other_high) a->grad_high += by_both * across_both;
    a->grad_low -= by_area * across_area;
    a->grad_high += by_area * across_area;
    if (a->low < a->other_low) a->grad_low -= by_around * across_around;
    if (a->high > a->other_high) a->grad_high += by_around * across_around;
}

/* Adds d(-S / D): S = x distance^2 + y distance^2, D = x around^2 + y around^2. */
DN_HD void dn_box_axis_add_distance(dn_box_axis *a, double s, double d)
{
    const double distance = 0.5 * (a->low + a->high - a->other_low - a->other_high);
    const double around_part = 2.0 * a->around * s / (d * d);
    a->grad_low -= distance / d;
    a->grad_high -= distance / d;
    if (a->low < a->other_low) a->grad_low -= around_part;
    if (a->high > a->other_high) a->grad_high += around_part;
}

/* gradient = dL/d(centre x, centre y, width, height) of the predicted box. */
DN_HD void dn_box_loss_gradient(dn_box_loss kind, dn_box box, dn_box object, double gradient[4])
{
    dn_box_axis x = dn_box_axis_make(box.x0, box.x1, object.x0, object.x1);
    dn_box_axis y = dn_box_axis_make(box.y0, box.y1, object.y0, object.y1);
    const double w = x.high - x.low, h = y.high - y.low;
    const double object_w = x.other_high - x.other_low, object_h = y.other_high - y.other_low;
    const double i = x.both * y.both, u = w * h + object_w * object_h - i;
    const double c = x.around * y.around;
    /* M = I / U, U = X + T - I: dM/dI = 1 / U + I / U^2, dM/dX = -I / U^2 */
    double by_both = i > 0.0 ? 1.0 / u + i / (u * u) : 0.0, by_area = i > 0.0 ? -i / (u * u) : 0.0;
    double by_around = 0.0;
    if (kind == DN_BOX_GIOU) { /* M += U / C - 1 */
        by_both -= i > 0.0 ? 1.0 / c : 0.0;
        by_area += 1.0 / c;
        by_around = -u / (c * c);
    }
    dn_box_axis_add(&x, by_both, y.both, by_area, h, by_around, y.around);
    dn_box_axis_add(&y, by_both, x.both, by_area, w, by_around, x.around);
    double by_w = 0.0, by_h = 0.0;
    if (kind == DN_BOX_DIOU || kind == DN_BOX_CIOU) {
        const double dx = 0.5 * (x.low + x.high - x.other_low - x.other_high);
        const double dy = 0.5 * (y.low + y.high - y.other_low - y.other_high);
        const double d = x.around * x.around + y.around * y.around;
        dn_box_axis_add_distance(&x, dx * dx + dy * dy, d);
        dn_box_axis_add_distance(&y, dx * dx + dy * dy, d);
    }
    if (kind == DN_BOX_CIOU) {
        const double angle = atan2(object_w, object_h) - atan2(w, h);
        const double v = 0.40528473456935109 * angle * angle; /* 4 / pi^2 */
        const double alpha = v > 0.0 ? v / (1.0 - i / u + v) : 0.0;
        const double by_angle = 2.0 * 0.40528473456935109 * alpha * angle / (w * w + h * h);
        by_w = by_angle * h;
        by_h = -by_angle * w;
    }
    gradient[0] = -(x.grad_low + x.grad_high);
    gradient[1] = -(y.grad_low + y.grad_high);
    gradient[2] = -(0.5 * (x.grad_high - x.grad_low) + by_w);
    gradient[3] = -(0.5 * (y.grad_high - y.grad_low) + by_h);
}

#endif
