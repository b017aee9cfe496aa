/* [sam] on CUDA: scale.h. */
#include "scale.h"

const dn_layer_kernels dn_sam_cuda = {dn_scale_cuda_forward, dn_scale_cuda_backward, nullptr,
                                      nullptr};
