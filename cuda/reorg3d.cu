/* [reorg3d] on CUDA: reorg.h. */
#include "reorg.h"

const dn_layer_kernels dn_reorg3d_cuda = {dn_reorg_cuda_forward, dn_reorg_cuda_backward, nullptr,
                                          nullptr};
