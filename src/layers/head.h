/* What the detection heads ([yolo], [region]) share. */
#ifndef DN_LAYERS_HEAD_H
#define DN_LAYERS_HEAD_H

#include "core/network.h"

/* Reads a `map` file, one class a line for each of info->classes, into info->class_map (freed by
 * the layer). `path` is tried from the working directory, then from the cfg's folder; NULL reads
 * nothing. */
dn_status dn_head_read_map(dn_head_info *info, const dn_layer *layer, const dn_network *network,
                           const char *path);

/* Fails unless the layer before has slots * entries filters, saying how many it needs. */
dn_status dn_head_check_filters(const dn_layer *layer, const dn_network *network, int32_t slots,
                                int32_t entries);

/* Appends a candidate whose objectness is above the pass's threshold, with objectness * class for
 * every class above it and 0 for the others; class c is classes[c * plane]. Boxes that
 * reach a million inputs far are left out: their sizes exploded, and in pixels they may overflow.
 */
dn_status dn_head_add_box(const dn_pass *pass, dn_candidate candidate, const float *classes,
                          int32_t class_count, int64_t plane, dn_detections *detections);

/* One object as the heads' losses see it: relative to the network's input. */
typedef struct dn_head_object {
    dn_box box;
    float x, y, w, h; /* the same by centre and size */
    int32_t class_id; /* through the class map */
} dn_head_object;

/* *out = object `index` of the truth. *use = false for crowds and empty boxes. A class that the
 * head does not have is an error. */
dn_status dn_head_object_get(const dn_head_info *info, const dn_layer *layer, const dn_pass *pass,
                             int32_t image, int32_t index, dn_head_object *out, bool *use);

/* The cell of `count` that holds a relative position; positions outside go to the nearest one. */
static inline int32_t dn_head_cell(float position, int32_t count)
{
    const float cell = position * (float)count;
    return cell < 0.0f ? 0 : cell >= (float)count ? count - 1 : (int32_t)cell;
}

/* The largest IoU of `box` with an object of the image that is no crowd, and which one it is (-1:
 * none overlaps); *in_crowd = the largest part of `box` that lies in a crowd. */
float dn_head_best_iou(const dn_pass *pass, int32_t image, dn_box box, int32_t *best,
                       float *in_crowd);

/* AlexeyAB's factor of the focal loss (Lin et al. 2017), of class gradients: p is the probability
 * of the true class. */
float dn_head_focal_factor(float p);

/* Clears the statistics, adds one learning box, and makes means of the sums. `no_objectness` is the
 * sum over `boxes` boxes. */
void dn_head_statistics_add(dn_head_info *info, float iou, float class_probability,
                            float objectness);
void dn_head_statistics_finish(dn_head_info *info, double no_objectness, int64_t boxes);

#endif
