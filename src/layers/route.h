/* The options of [route], which its CPU and CUDA forms read. */
#ifndef DN_LAYERS_ROUTE_H
#define DN_LAYERS_ROUTE_H

#include "core/layer.h"

typedef struct dn_route_options {
    dn_ints layers;
    int32_t groups, group_id;
} dn_route_options;

#endif
