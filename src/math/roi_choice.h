/* A detection that becomes an RoI, and the map that fits it: core/roi_detections.c and
 * layers/roialign_choice.c on the CPU, cuda/roi_table.cu on a device. */
#ifndef DN_MATH_ROI_CHOICE_H
#define DN_MATH_ROI_CHOICE_H

#include "math/box.h"
#include "math/roi_pool.h"

/* `relative` is the detection's box, w x h the network's input. */
DN_HD dn_roi dn_roi_of_detection(int32_t image, int32_t detection, int32_t class_id, float score,
                                 dn_box relative, float w, float h, float expand)
{
    dn_roi roi;
    roi.image = image;
    roi.class_id = class_id;
    roi.truth = -1;
    roi.detection = detection;
    roi.level = -1;
    roi.score = score;
    roi.box = dn_box_scale(relative, w, h);
    roi.expanded = dn_box_enlarged(roi.box, expand);
    return roi;
}

/* The map, of those seen so far, whose stride fits a box best; begins zeroed but for level = -1. */
typedef struct dn_roi_fit {
    int32_t level;
    double distance, stride;
} dn_roi_fit;

/* log2 of the stride at which a cell is a bin of a 14 x 14 pool. */
DN_HD double dn_roi_wanted_stride(dn_box box)
{
    const double area = ((double)box.x1 - (double)box.x0) * ((double)box.y1 - (double)box.y0);
    return 0.5 * log2(area > 1e-9 ? area : 1e-9) - log2(14.0);
}

/* Takes map `level` into account: the nearest stride wins, of equals the finer one. */
DN_HD void dn_roi_fit_map(dn_roi_fit *fit, double wanted, const dn_roi_map *map, int32_t level)
{
    const double tie = 1e-6; /* octaves: what rounding the box to float may change */
    const double stride = 1.0 / sqrt((double)map->scale_x * (double)map->scale_y);
    const double distance = fabs(log2(stride) - wanted);
    const bool first = fit->level < 0, finer = first || stride < fit->stride;
    if (!first && distance > (finer ? fit->distance + tie : fit->distance - tie)) return;
    fit->level = level;
    fit->distance = distance;
    fit->stride = stride;
}

#endif
