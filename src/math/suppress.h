/* Suppression of overlapping boxes, one pair: whether a box that is kept takes another one's class;
 * core/nms.c goes over the pairs on the CPU, cuda/suppress.cu on a device. */
#ifndef DN_MATH_SUPPRESS_H
#define DN_MATH_SUPPRESS_H

#include "math/box.h"

typedef enum dn_nms_kind { DN_NMS_DEFAULT, DN_NMS_GREEDY, DN_NMS_DIOU } dn_nms_kind;

typedef struct dn_nms_rule {
    float threshold;
    dn_nms_kind kind;
    float beta;
} dn_nms_rule;

DN_HD dn_nms_rule dn_nms_rule_of(float threshold, dn_nms_kind kind, float beta)
{
    const dn_nms_rule rule = {threshold, kind, kind == DN_NMS_GREEDY ? 0.6f : beta};
    return rule;
}

/* IoU of a box with one that is kept, given by its corners; both by their areas, too. Without
 * branches, so that the CPU's compiler vectorises a loop over it. */
DN_HD float dn_nms_iou(float x0, float y0, float x1, float y1, float kept_area, dn_box box,
                       float area)
{
    const float right = x1 < box.x1 ? x1 : box.x1;
    const float left = x0 > box.x0 ? x0 : box.x0;
    const float bottom = y1 < box.y1 ? y1 : box.y1;
    const float top = y0 > box.y0 ? y0 : box.y0;
    const float w = right - left > 0.0f ? right - left : 0.0f;
    const float h = bottom - top > 0.0f ? bottom - top : 0.0f;
    const float both = w * h, all = kept_area + area - both;
    return both / (all > 0.0f ? all : 1.0f);
}

/* The same for the kinds that look at distances. */
DN_HD bool dn_nms_loses_by_distance(const dn_nms_rule *rule, dn_box kept, dn_box box)
{
    const bool touch = kept.x0 < box.x1 && box.x0 < kept.x1 && kept.y0 < box.y1 && box.y0 < kept.y1;
    return touch && dn_diou_of(kept, box, rule->beta) > rule->threshold;
}

#endif
