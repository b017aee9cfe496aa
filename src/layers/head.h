/* What the detection heads ([yolo], [region]) share. */
#ifndef DN_LAYERS_HEAD_H
#define DN_LAYERS_HEAD_H

#include "core/network.h"
#include "math/head.h"

#ifdef __cplusplus
extern "C" {
#endif

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

/* *out = object `index` of the image's truth. A class that the head does not have is an error. */
dn_status dn_head_object_get(const dn_head_info *info, const dn_layer *layer, const dn_pass *pass,
                             int32_t image, int32_t index, dn_head_object *out);

/* How `box` lies to the objects of the image. */
dn_head_overlap dn_head_overlap_of(const dn_pass *pass, int32_t image, dn_box box);

/* The statistics from the sums of a pass over `boxes` boxes; the losses are the layer's. */
void dn_head_statistics_set(dn_head_info *info, const dn_head_sums *sums, int64_t boxes);

#ifdef __cplusplus
}
#endif

#endif
