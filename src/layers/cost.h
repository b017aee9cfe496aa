/* The options of [cost], which its CPU and CUDA forms read. */
#ifndef DN_LAYERS_COST_H
#define DN_LAYERS_COST_H

#include "core/layer.h"
#include "math/cost.h"

typedef struct dn_cost_options {
    int32_t type; /* dn_cost */
    float scale, ratio, thresh;
} dn_cost_options;

#endif
