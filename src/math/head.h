/* What the losses of the detection heads share, one box and one object: the objects as heads see
 * them, the best overlap, the focal factor, and what is summed. */
#ifndef DN_MATH_HEAD_H
#define DN_MATH_HEAD_H

#include "math/box.h"

/* One object, relative to the network's input. */
typedef struct dn_head_object {
    dn_box box;
    float x, y, w, h; /* the same by centre and size */
    int32_t class_id; /* through the class map */
    bool crowd;       /* a region to ignore */
    bool usable;      /* boxes learn it: no crowd, not empty */
} dn_head_object;

/* Relative coordinates up to there are still numbers as pixels of the largest image, enlarged. */
#define DN_HEAD_FARTHEST 1e6f

/* Whether the box's sizes did not explode. */
DN_HD bool dn_head_is_sane(dn_box box)
{
    return fabsf(box.x0) <= DN_HEAD_FARTHEST && fabsf(box.y0) <= DN_HEAD_FARTHEST &&
           fabsf(box.x1) <= DN_HEAD_FARTHEST && fabsf(box.y1) <= DN_HEAD_FARTHEST;
}

/* How a box lies to the objects of its image. */
typedef struct dn_head_overlap {
    float iou;      /* the largest one with an object that is no crowd */
    int32_t best;   /* which object that is; -1: none overlaps */
    float in_crowd; /* the largest part of the box that lies in a crowd */
} dn_head_overlap;

DN_HD dn_head_overlap dn_head_overlap_none(void)
{
    const dn_head_overlap none = {0.0f, -1, 0.0f};
    return none;
}

/* Takes object k, whose box is `other`, into account. */
DN_HD void dn_head_overlap_add(dn_head_overlap *overlap, dn_box box, dn_box other, bool crowd,
                               int32_t k)
{
    if (crowd) {
        const float part = dn_area_of(dn_box_common(box, other)) / dn_area_of(box);
        if (part > overlap->in_crowd) overlap->in_crowd = part;
        return;
    }
    const float iou = dn_iou_of(box, other);
    if (iou <= overlap->iou) return;
    overlap->iou = iou;
    overlap->best = k;
}

/* The cell of `count` that holds a relative position; positions outside go to the nearest one. */
DN_HD int32_t dn_head_cell(float position, int32_t count)
{
    const float cell = position * (float)count;
    return cell < 0.0f ? 0 : cell >= (float)count ? count - 1 : (int32_t)cell;
}

/* AlexeyAB's factor of the focal loss (Lin et al. 2017), of class gradients: p is the probability
 * of the true class. */
DN_HD float dn_head_focal_factor(float p)
{
    const float pt = p + 1e-15f;
    return -0.5f * (1.0f - pt) * (2.0f * pt * logf(pt) + pt - 1.0f);
}

/* Sums of a pass; all double, so that they can be added up as an array. */
typedef struct dn_head_sums {
    /* over the boxes that learn an object */
    double count, iou, class_probability, objectness, recall_50, recall_75, box_loss;
    double boxes, classes, objectness_squares; /* of gradients */
    double no_objectness;                      /* over all boxes */
} dn_head_sums;

enum { DN_HEAD_SUMS = (int)(sizeof(dn_head_sums) / sizeof(double)) };

DN_HD void dn_head_sums_add(dn_head_sums *sums, float iou, float class_probability,
                            float objectness)
{
    sums->count += 1.0;
    sums->iou += (double)iou;
    sums->class_probability += (double)class_probability;
    sums->objectness += (double)objectness;
    sums->recall_50 += iou > 0.5f ? 1.0 : 0.0;
    sums->recall_75 += iou > 0.75f ? 1.0 : 0.0;
}

#endif
