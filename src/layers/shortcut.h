/* The options and the state of [shortcut], which its CPU and CUDA forms read. */
#ifndef DN_LAYERS_SHORTCUT_H
#define DN_LAYERS_SHORTCUT_H

#include "core/layer.h"
#include "math/activation.h"
#include "math/shortcut.h"

typedef enum dn_weights_type {
    DN_WEIGHTS_NONE,
    DN_WEIGHTS_PER_FEATURE,
    DN_WEIGHTS_PER_LAYER, /* another name of PER_FEATURE */
    DN_WEIGHTS_PER_CHANNEL,
} dn_weights_type;

typedef enum dn_weights_normalization {
    DN_NORMALIZATION_NONE,
    DN_NORMALIZATION_RELU,
    DN_NORMALIZATION_AVG_RELU, /* another name of RELU */
    DN_NORMALIZATION_SOFTMAX,
} dn_weights_normalization;

typedef struct dn_shortcut_options {
    dn_ints from;
    int32_t activation, weights_type, weights_normalization;
    float alpha, beta;
} dn_shortcut_options;

typedef struct dn_shortcut {
    dn_overlap *overlaps; /* (input_count) */
    dn_param *weights;    /* NULL: none */
    int32_t columns;      /* factors an input: 1 or channels */
} dn_shortcut;

#endif
