/* The convolution engine of the CUDA forms: one interface, two implementations of which the build
 * takes one: conv_gemm.cu (column matrices and cuBLAS, our own kernels for depthwise ones) and,
 * with CUDNN=1, conv_cudnn.cu.
 *
 * A plan is made once for a geometry, in a layer's setup; it holds what is derived from the sizes
 * (slices, descriptors, chosen algorithms) and no device memory that grows. The passes only launch:
 * no allocation, no waiting. They work on the calling thread's default stream, multiply as a plan
 * is told (depthwise ones always in float32), and give the same bits for the same call (no float
 * atomics).
 *
 * All are cross-correlations with symmetric zero padding, dilation and groups, NCHW, weights
 * (groups * filters, c, size, size); see math/conv.h for the arguments. `images` counts live ones:
 * 0..args.images, in any order from call to call. [deconvolutional] is the same plan mirrored: its
 * forward is backward_input, its input's gradient forward.
 */
#ifndef DN_CUDA_CONV_H
#define DN_CUDA_CONV_H

#include "core/status.h"
#include "math/conv.h"

/* The passes that a plan is asked for: those of a layer that only predicts need no workspace for
 * gradients. */
enum {
    DN_CONV_FORWARD = 1,
    DN_CONV_BACKWARD_WEIGHTS = 2,
    DN_CONV_BACKWARD_INPUT = 4,
    DN_CONV_ALL = 7,
};

typedef struct dn_cuda_conv dn_cuda_conv;

/* Of `args`, geometry, images (the most of a call), groups and filters are read. The current device
 * is the one that the plan is for. *conv is untouched on failure. */
dn_status dn_cuda_conv_make(const dn_conv_args *args, int32_t passes, dn_products products,
                            dn_cuda_conv **conv);

/* NULL is allowed. */
void dn_cuda_conv_free(dn_cuda_conv *conv);

/* Floats at `workspace` that the largest of the plan's passes needs. */
int64_t dn_cuda_conv_workspace(const dn_cuda_conv *conv);

/* out = weights * in, or out += where `accumulate`. */
dn_status dn_cuda_conv_forward(const dn_cuda_conv *conv, int32_t images,
                               const float *in,      /* (images, groups * c, h, w) */
                               const float *weights, /* (groups * filters, c, size, size) */
                               bool accumulate,
                               float *out, /* (images, groups * filters, out_h, out_w) */
                               float *workspace);

/* grad_weights += the sum over images and pixels. */
dn_status dn_cuda_conv_backward_weights(const dn_cuda_conv *conv, int32_t images, const float *in,
                                        const float *grad_out, float *grad_weights,
                                        float *workspace);

/* grad_in = weights' * grad_out, or grad_in += where `accumulate`. Input pixels that no filter
 * reads get 0, or keep what they have. */
dn_status dn_cuda_conv_backward_input(const dn_cuda_conv *conv, int32_t images,
                                      const float *grad_out, const float *weights, bool accumulate,
                                      float *grad_in, float *workspace);

#endif
