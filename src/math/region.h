/* [region], one place: its box, what it learns, and the gradients; layers/region.c says what they
 * are and why, and runs them on the CPU, cuda/region.cu on a device. */
#ifndef DN_MATH_REGION_H
#define DN_MATH_REGION_H

#include "math/head.h"

/* Entries of an anchor: x, y, w, h, objectness, then the classes. */
enum {
    DN_REGION_X,
    DN_REGION_Y,
    DN_REGION_W,
    DN_REGION_H,
    DN_REGION_OBJECTNESS,
    DN_REGION_CLASSES
};

/* So strongly all boxes are pulled to their anchors at the start of a training. */
#define DN_REGION_WARM_UP_SCALE 0.01f

/* What the options and the shapes make of a head. */
typedef struct dn_region_head {
    int32_t classes, num, h, w;
    bool softmax, rescore, bias_match, focal_loss;
    float thresh, coord_scale, object_scale, noobject_scale, class_scale;
    const float *anchors; /* (num, 2): width and height in cells */
} dn_region_head;

/* One anchor of one cell of one image. Its entries lie h * w apart. */
typedef struct dn_region_place {
    int32_t anchor;
    int64_t cell;
    const float *out; /* (5 + classes) */
    float *gradient;  /* (5 + classes) */
} dn_region_place;

/* Softmax over `count` values that lie `plane` apart. */
DN_HD void dn_region_softmax(const float *in, float *out, int32_t count, int64_t plane)
{
    float most = in[0], sum = 0.0f;
    for (int32_t c = 1; c < count; c++) most = fmaxf(most, in[c * plane]);
    for (int32_t c = 0; c < count; c++) {
        out[c * plane] = expf(in[c * plane] - most);
        sum += out[c * plane];
    }
    for (int32_t c = 0; c < count; c++) out[c * plane] /= sum;
}

/* The box of an anchor at a cell whose entries begin at `values`, relative to the network's input.
 */
DN_HD dn_box dn_region_box(const dn_region_head *g, const float *values, int32_t anchor,
                           int64_t cell)
{
    const int64_t plane = (int64_t)g->h * g->w;
    const float *size = g->anchors + 2 * anchor;
    return dn_box_from_centre(((float)(cell % g->w) + values[0]) / (float)g->w,
                              ((float)(cell / g->w) + values[plane]) / (float)g->h,
                              expf(values[2 * plane]) * size[0] / (float)g->w,
                              expf(values[3 * plane]) * size[1] / (float)g->h);
}

DN_HD dn_box dn_region_box_at(const dn_region_head *g, dn_region_place at)
{
    return dn_region_box(g, at.out, at.anchor, at.cell);
}

/* Gradients of a box that aims at (x, y, w, h), relative to the network's input. */
DN_HD void dn_region_learn_box(const dn_region_head *g, dn_region_place at, const float target[4],
                               float scale)
{
    const int64_t plane = (int64_t)g->h * g->w;
    const float *size = g->anchors + 2 * at.anchor;
    const float wanted[4] = {target[0] * (float)g->w - (float)(at.cell % g->w),
                             target[1] * (float)g->h - (float)(at.cell / g->w),
                             logf(target[2] * (float)g->w / size[0]),
                             logf(target[3] * (float)g->h / size[1])};
    for (int32_t k = 0; k < 4; k++)
        at.gradient[k * plane] = scale * (at.out[k * plane] - wanted[k]);
}

/* The place as if it learned no object: objectness, and the pull to the anchor at the start. */
DN_HD void dn_region_learn_negative(const dn_region_head *g, dn_region_place at,
                                    dn_head_overlap overlap, bool warm_up)
{
    const int64_t plane = (int64_t)g->h * g->w;
    const float *size = g->anchors + 2 * at.anchor;
    if (overlap.iou <= g->thresh && overlap.in_crowd <= g->thresh)
        at.gradient[DN_REGION_OBJECTNESS * plane] =
            g->noobject_scale * at.out[DN_REGION_OBJECTNESS * plane];
    if (!warm_up) return;
    const float target[4] = {((float)(at.cell % g->w) + 0.5f) / (float)g->w,
                             ((float)(at.cell / g->w) + 0.5f) / (float)g->h, size[0] / (float)g->w,
                             size[1] / (float)g->h};
    dn_region_learn_box(g, at, target, DN_REGION_WARM_UP_SCALE);
}

/* The cell of the object's centre. */
DN_HD int64_t dn_region_cell(const dn_region_head *g, const dn_head_object *object)
{
    return (int64_t)dn_head_cell(object->y, g->h) * g->w + dn_head_cell(object->x, g->w);
}

/* The anchor whose box, moved to the object's centre, has the largest IoU with it; `image`: the
 * image's outputs, (num * (5 + classes), h, w). */
DN_HD int32_t dn_region_best_anchor(const dn_region_head *g, const float *image, int64_t cell,
                                    const dn_head_object *object)
{
    const int64_t size_of_anchor = (int64_t)(DN_REGION_CLASSES + g->classes) * g->h * g->w;
    int32_t best = 0;
    float most = -1.0f;
    for (int32_t anchor = 0; anchor < g->num; anchor++) {
        const dn_box box = dn_region_box(g, image + anchor * size_of_anchor + cell, anchor, cell);
        const float *size = g->anchors + 2 * anchor;
        const float w = g->bias_match ? size[0] / (float)g->w : box.x1 - box.x0;
        const float h = g->bias_match ? size[1] / (float)g->h : box.y1 - box.y0;
        const float iou = dn_iou_of(dn_box_from_centre(0.0f, 0.0f, w, h),
                                    dn_box_from_centre(0.0f, 0.0f, object->w, object->h));
        if (iou <= most) continue;
        most = iou;
        best = anchor;
    }
    return best;
}

/* Makes this place learn the object. */
DN_HD void dn_region_learn(const dn_region_head *g, dn_region_place at,
                           const dn_head_object *object, dn_head_sums *sums)
{
    const int64_t plane = (int64_t)g->h * g->w;
    const float target[4] = {object->x, object->y, object->w, object->h};
    const float iou = dn_iou_of(dn_region_box_at(g, at), object->box);
    const float objectness = at.out[DN_REGION_OBJECTNESS * plane];
    dn_region_learn_box(g, at, target, g->coord_scale * (2.0f - object->w * object->h));
    at.gradient[DN_REGION_OBJECTNESS * plane] =
        g->object_scale * (objectness - (g->rescore ? iou : 1.0f));
    const float *__restrict__ classes = at.out + DN_REGION_CLASSES * plane;
    float *__restrict__ class_gradients = at.gradient + DN_REGION_CLASSES * plane;
    const float true_class = classes[object->class_id * plane];
    const float factor = g->class_scale * (g->focal_loss ? dn_head_focal_factor(true_class) : 1.0f);
    for (int32_t c = 0; c < g->classes; c++)
        class_gradients[c * plane] =
            factor * (classes[c * plane] - (c == object->class_id ? 1.0f : 0.0f));
    dn_head_sums_add(sums, iou, true_class, objectness);
}

/* Adds one squared gradient of entry `entry`. */
DN_HD void dn_region_add_square(int64_t entry, float gradient, dn_head_sums *sums)
{
    const double square = (double)gradient * (double)gradient;
    if (entry < DN_REGION_OBJECTNESS)
        sums->boxes += square;
    else if (entry == DN_REGION_OBJECTNESS)
        sums->objectness_squares += square;
    else
        sums->classes += square;
}

#endif
