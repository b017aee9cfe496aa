/* [yolo], one place: its box, what it learns, and the gradients; layers/yolo_loss.c says what they
 * are and why, and runs them on the CPU, cuda/yolo.cu on a device. */
#ifndef DN_MATH_YOLO_H
#define DN_MATH_YOLO_H

#include "math/box_loss.h"
#include "math/head.h"

/* Entries of an anchor slot: x, y, w, h, objectness, then the classes. */
enum { DN_YOLO_X, DN_YOLO_Y, DN_YOLO_W, DN_YOLO_H, DN_YOLO_OBJECTNESS, DN_YOLO_CLASSES };

/* What the options and the shapes make of a head. */
typedef struct dn_yolo_head {
    int32_t classes, num, slots, h, w;
    float input_w, input_h; /* of the network */
    float scale_x_y;
    bool new_coords, focal_loss, objectness_smooth;
    dn_box_loss iou_loss, iou_thresh_kind;
    float ignore_thresh, truth_thresh, iou_thresh;
    float box_normalizer, obj_normalizer, cls_normalizer;
    float max_delta, label_smooth_eps;
    const float *anchors;          /* (num, 2): width and height in network pixels */
    const int32_t *anchor_of_slot; /* (slots) */
    const float *class_weights;    /* (classes) or NULL */
} dn_yolo_head;

/* One slot of one cell of one image. Its entries lie h * w apart. */
typedef struct dn_yolo_place {
    int32_t slot, row, column;
    const float *out; /* (5 + classes) */
    float *gradient;  /* (5 + classes) */
    float *learned;   /* how many objects this place learns so far */
} dn_yolo_place;

/* x or y, stretched about the cell's middle. */
DN_HD float dn_yolo_stretch(float scale_x_y, float value)
{
    return scale_x_y * value + -0.5f * (scale_x_y - 1.0f);
}

/* Whether an entry of the output is the logistic of the input's. */
DN_HD bool dn_yolo_squashes(bool new_coords, int32_t entry)
{
    return !new_coords && entry != DN_YOLO_W && entry != DN_YOLO_H;
}

/* An entry of the output from that. */
DN_HD float dn_yolo_output(float scale_x_y, int32_t entry, float value)
{
    return scale_x_y != 1.0f && entry <= DN_YOLO_Y ? dn_yolo_stretch(scale_x_y, value) : value;
}

/* The box of a cell whose entries begin at `cell` and lie `plane` apart, relative to the network's
 * input. */
DN_HD dn_box dn_yolo_box_of(const dn_yolo_head *y, const float *cell, int64_t plane, int32_t slot,
                            int32_t row, int32_t column)
{
    const float *anchor = y->anchors + 2 * y->anchor_of_slot[slot];
    const float w = cell[DN_YOLO_W * plane], h = cell[DN_YOLO_H * plane];
    const float wide = y->new_coords ? 4.0f * w * w : expf(w);
    const float high = y->new_coords ? 4.0f * h * h : expf(h);
    return dn_box_from_centre(((float)column + cell[DN_YOLO_X * plane]) / (float)y->w,
                              ((float)row + cell[DN_YOLO_Y * plane]) / (float)y->h,
                              wide * anchor[0] / y->input_w, high * anchor[1] / y->input_h);
}

/* The same in the output, where they lie h * w apart. */
DN_HD dn_box dn_yolo_box(const dn_yolo_head *y, const float *cell, int32_t slot, int32_t row,
                         int32_t column)
{
    return dn_yolo_box_of(y, cell, (int64_t)y->h * y->w, slot, row, column);
}

DN_HD dn_box dn_yolo_box_at(const dn_yolo_head *y, dn_yolo_place at)
{
    return dn_yolo_box(y, at.out, at.slot, at.row, at.column);
}

DN_HD void dn_yolo_learn_class(const dn_yolo_head *y, dn_yolo_place at, int32_t class_id,
                               float weight)
{
    const int64_t plane = (int64_t)y->h * y->w;
    /* (classes), plane apart; __restrict__, so that a GPU asks for the next before it has one */
    const float *__restrict__ p = at.out + DN_YOLO_CLASSES * plane;
    float *__restrict__ gradient = at.gradient + DN_YOLO_CLASSES * plane;
    const float yes = 1.0f - 0.5f * y->label_smooth_eps, no = 0.5f * y->label_smooth_eps;
    const float factor = weight * y->cls_normalizer;
    if (*at.learned > 0.0f) {
        gradient[class_id * plane] = factor * (p[class_id * plane] - yes);
        return;
    }
    const float focal = y->focal_loss ? dn_head_focal_factor(p[class_id * plane]) : 1.0f;
    for (int32_t c = 0; c < y->classes; c++)
        gradient[c * plane] = factor * focal * (p[c * plane] - (c == class_id ? yes : no));
}

DN_HD void dn_yolo_learn_box_mse(const dn_yolo_head *y, dn_yolo_place at,
                                 const dn_head_object *object, float weight)
{
    const int64_t plane = (int64_t)y->h * y->w;
    const float *anchor = y->anchors + 2 * y->anchor_of_slot[at.slot];
    const float w = object->w * y->input_w / anchor[0];
    const float h = object->h * y->input_h / anchor[1];
    const float target[4] = {
        object->x * (float)y->w - (float)at.column, object->y * (float)y->h - (float)at.row,
        y->new_coords ? sqrtf(0.25f * w) : logf(w), y->new_coords ? sqrtf(0.25f * h) : logf(h)};
    const float factor = weight * y->box_normalizer * (2.0f - object->w * object->h);
    for (int32_t k = 0; k < 4; k++)
        at.gradient[k * plane] = factor * (at.out[k * plane] - target[k]);
}

DN_HD void dn_yolo_learn_box_iou(const dn_yolo_head *y, dn_yolo_place at, dn_box box,
                                 const dn_head_object *object, float weight)
{
    const int64_t plane = (int64_t)y->h * y->w;
    double by_box[4];
    dn_box_loss_gradient(y->iou_loss, box, object->box, by_box);
    for (int32_t k = 0; k < 4; k++) {
        const bool exponential = k >= 2 && !y->new_coords;
        const double chain = exponential ? exp((double)at.out[k * plane]) : 1.0;
        const double value = by_box[k] * chain * (double)(weight * y->box_normalizer);
        if (!isfinite(value)) continue;
        const double limit = (double)y->max_delta;
        at.gradient[k * plane] += (float)fmax(-limit, fmin(limit, value));
    }
}

/* Makes this place learn the object. */
DN_HD void dn_yolo_learn(const dn_yolo_head *y, dn_yolo_place at, const dn_head_object *object,
                         dn_head_sums *sums)
{
    const int64_t plane = (int64_t)y->h * y->w;
    const float weight = y->class_weights ? y->class_weights[object->class_id] : 1.0f;
    const dn_box box = dn_yolo_box_at(y, at);
    const float iou = dn_iou_of(box, object->box);
    const float objectness = at.out[DN_YOLO_OBJECTNESS * plane];
    at.gradient[DN_YOLO_OBJECTNESS * plane] = weight * y->obj_normalizer * (objectness - 1.0f);
    dn_yolo_learn_class(y, at, object->class_id, weight);
    if (y->iou_loss == DN_BOX_MSE)
        dn_yolo_learn_box_mse(y, at, object, weight);
    else
        dn_yolo_learn_box_iou(y, at, box, object, weight);
    *at.learned += 1.0f;
    dn_head_sums_add(sums, iou, at.out[(DN_YOLO_CLASSES + object->class_id) * plane], objectness);
    sums->box_loss +=
        1.0 - (double)(y->iou_loss == DN_BOX_GIOU ? dn_giou_of(box, object->box) : iou);
}

/* Objectness as if the place learned no object. */
DN_HD void dn_yolo_learn_negative(const dn_yolo_head *y, dn_yolo_place at, dn_head_overlap overlap)
{
    const int64_t plane = (int64_t)y->h * y->w;
    const float objectness = at.out[DN_YOLO_OBJECTNESS * plane];
    float target = 0.0f;
    if (overlap.in_crowd > y->ignore_thresh) target = objectness;
    if (overlap.iou > y->ignore_thresh) target = y->objectness_smooth ? overlap.iou : objectness;
    at.gradient[DN_YOLO_OBJECTNESS * plane] = y->obj_normalizer * (objectness - target);
}

/* truth_thresh: a box that overlaps the object that much (`iou`) learns it where it is. */
DN_HD void dn_yolo_learn_close(const dn_yolo_head *y, dn_yolo_place at,
                               const dn_head_object *object, float iou, dn_head_sums *sums)
{
    const int64_t plane = (int64_t)y->h * y->w;
    dn_yolo_learn(y, at, object, sums);
    if (y->objectness_smooth)
        at.gradient[DN_YOLO_OBJECTNESS * plane] =
            y->obj_normalizer * (at.out[DN_YOLO_OBJECTNESS * plane] - iou * iou);
}

/* How well the anchor's shape fits the object's, both at the same centre. */
DN_HD float dn_yolo_shape_fit(const dn_yolo_head *y, int32_t anchor, const dn_head_object *object,
                              dn_box_loss kind)
{
    const float *size = y->anchors + 2 * anchor;
    const dn_box a = dn_box_from_centre(0.0f, 0.0f, size[0] / y->input_w, size[1] / y->input_h);
    const dn_box b = dn_box_from_centre(0.0f, 0.0f, object->w, object->h);
    switch (kind) {
    case DN_BOX_GIOU:
        return dn_giou_of(a, b);
    case DN_BOX_CIOU:
        return dn_ciou_of(a, b);
    case DN_BOX_MSE:
    case DN_BOX_IOU:
    case DN_BOX_DIOU:
        break;
    }
    return dn_iou_of(a, b);
}

/* The anchor of all heads whose shape fits the object best. */
DN_HD int32_t dn_yolo_best_anchor(const dn_yolo_head *y, const dn_head_object *object)
{
    int32_t best = 0;
    float most = -1.0f;
    for (int32_t anchor = 0; anchor < y->num; anchor++) {
        const float fit = dn_yolo_shape_fit(y, anchor, object, DN_BOX_IOU);
        if (fit <= most) continue;
        most = fit;
        best = anchor;
    }
    return best;
}

/* Whether the slot learns the object, whose best anchor is `best`, in the cell of its centre. */
DN_HD bool dn_yolo_slot_learns(const dn_yolo_head *y, const dn_head_object *object, int32_t slot,
                               int32_t best)
{
    const int32_t anchor = y->anchor_of_slot[slot];
    return anchor == best ||
           (y->iou_thresh < 1.0f &&
            dn_yolo_shape_fit(y, anchor, object, y->iou_thresh_kind) > y->iou_thresh);
}

/* Adds up the place's squared gradients; the box of one that learns several objects is averaged
 * first (IoU losses). */
DN_HD void dn_yolo_finish_place(const dn_yolo_head *y, dn_yolo_place at, dn_head_sums *sums)
{
    const int64_t plane = (int64_t)y->h * y->w;
    const double g = (double)at.gradient[DN_YOLO_OBJECTNESS * plane];
    sums->objectness_squares += g * g;
    if (*at.learned == 0.0f) return;
    for (int32_t k = 0; k < 4; k++) {
        float *value = at.gradient + k * plane;
        if (y->iou_loss != DN_BOX_MSE) *value /= *at.learned;
        sums->boxes += (double)*value * (double)*value;
    }
    double classes = sums->classes;
    for (int32_t k = DN_YOLO_CLASSES; k < DN_YOLO_CLASSES + y->classes; k++)
        classes += (double)at.gradient[k * plane] * (double)at.gradient[k * plane];
    sums->classes = classes;
}

#endif
