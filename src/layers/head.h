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

#endif
