/* Convolution on the CPU, backward: gradients of the weights and of the input.
 *
 * The arguments are those of the forward call (conv.h), of which geometry, images, groups, filters,
 * in, weights, threads and workspace are read. Sums over images and pixels run in one fixed order:
 * results do not depend on the number of threads.
 */
#ifndef DN_MATH_CONV_BACKWARD_H
#define DN_MATH_CONV_BACKWARD_H

#include "math/conv.h"

/* How many floats the functions need at args->workspace. They never fall when images or threads
 * grow. */
int64_t dn_conv_backward_weights_workspace(const dn_conv_args *args);
int64_t dn_conv_backward_input_workspace(const dn_conv_args *args);

/* grad_weights += grad_out * columns', summed over images. */
void dn_conv_backward_weights(const dn_conv_args *args,
                              const float *grad_out, /* (images, groups * filters, out_h, out_w) */
                              float *grad_weights /* (groups * filters, c, size, size) */);

/* grad_in += the columns' gradients, weights' * grad_out, each where it came from. */
void dn_conv_backward_input(const dn_conv_args *args,
                            const float *grad_out, /* (images, groups * filters, out_h, out_w) */
                            float *grad_in /* (images, groups * c, h, w) */);

#endif
