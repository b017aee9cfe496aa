/* The layer types by name: dn_<name>_layer of every line of layers.def. */
#ifndef DN_INFER_LAYER_TYPES_H
#define DN_INFER_LAYER_TYPES_H

#include "core/layer.h"

#define DN_LAYER(name)     extern const dn_layer_type dn_##name##_layer;
#define DN_LAYER_CPU(name) DN_LAYER(name)
#include "core/layers.def"
#undef DN_LAYER
#undef DN_LAYER_CPU

#endif
