/* The kernels that [reorg] and [reorg3d] share on CUDA; see layers/reorg.h. */
#ifndef DN_CUDA_REORG_H
#define DN_CUDA_REORG_H

#include "core/backend.h"

dn_status dn_reorg_cuda_forward(dn_layer *layer, const dn_pass *pass);
dn_status dn_reorg_cuda_backward(dn_layer *layer, const dn_pass *pass);

#endif
