/* The options of [activation], which its CPU and CUDA forms read. */
#ifndef DN_LAYERS_ACTIVATION_H
#define DN_LAYERS_ACTIVATION_H

#include "core/layer.h"
#include "math/activation.h"

typedef struct dn_activation_options {
    int32_t activation;
} dn_activation_options;

#endif
