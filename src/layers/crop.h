/* What the CPU and the CUDA form of [crop] share. */
#ifndef DN_LAYERS_CROP_H
#define DN_LAYERS_CROP_H

#include "core/layer.h"
#include "math/crop.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The cut of one layer in one pass. */
dn_cut dn_cut_of(const dn_layer *layer, const dn_pass *pass);

#ifdef __cplusplus
}
#endif

#endif
