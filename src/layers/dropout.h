/* What the CPU and the CUDA form of [dropout] share. */
#ifndef DN_LAYERS_DROPOUT_H
#define DN_LAYERS_DROPOUT_H

#include "core/layer.h"
#include "math/dropout.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The mask of one layer in one pass. */
dn_dropout dn_dropout_of(const dn_layer *layer, const dn_pass *pass);

#ifdef __cplusplus
}
#endif

#endif
