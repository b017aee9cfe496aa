/* The options of [upsample], which its CPU and CUDA forms read; its state is a
 * dn_upsample_geometry. */
#ifndef DN_LAYERS_UPSAMPLE_H
#define DN_LAYERS_UPSAMPLE_H

#include "core/layer.h"
#include "math/upsample.h"

typedef struct dn_upsample_options {
    int32_t stride;
    float scale;
} dn_upsample_options;

#endif
