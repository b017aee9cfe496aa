/* The kernels that [scale_channels] and [sam] share on CUDA; see layers/scale.h. */
#ifndef DN_CUDA_SCALE_H
#define DN_CUDA_SCALE_H

#include "core/backend.h"

dn_status dn_scale_cuda_forward(dn_layer *layer, const dn_pass *pass);
dn_status dn_scale_cuda_backward(dn_layer *layer, const dn_pass *pass);

#endif
