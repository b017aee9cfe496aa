/* Depthwise convolutions on CUDA: every channel has one filter of its own. Arguments: conv.h. */
#ifndef DN_CUDA_CONV_DEPTHWISE_H
#define DN_CUDA_CONV_DEPTHWISE_H

#include "core/status.h"
#include "math/conv.h"

static inline bool dn_is_depthwise(const dn_conv_args *args)
{
    return args->geometry.c == 1 && args->filters == 1;
}

/* Floats of workspace that the gradient of the weights needs, for up to `images`. */
int64_t dn_depthwise_cuda_workspace(const dn_conv_args *args, int32_t images);

dn_status dn_depthwise_cuda_forward(const dn_conv_args *args, int32_t images, const float *in,
                                    const float *weights, bool accumulate, float *out);

dn_status dn_depthwise_cuda_backward_weights(const dn_conv_args *args, int32_t images,
                                             const float *in, const float *grad_out,
                                             float *grad_weights, float *workspace);

dn_status dn_depthwise_cuda_backward_input(const dn_conv_args *args, int32_t images,
                                           const float *grad_out, const float *weights,
                                           bool accumulate, float *grad_in);

#endif
