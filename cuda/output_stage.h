/* The output stage (layers/output_stage.h) on CUDA: what [convolutional], [deconvolutional],
 * [connected] and [batchnorm] end with. */
#ifndef DN_CUDA_OUTPUT_STAGE_H
#define DN_CUDA_OUTPUT_STAGE_H

#include "layers/output_stage.h"

/* Floats of workspace that the functions need; the output's shape is set. */
int64_t dn_stage_cuda_workspace(const dn_layer *layer);

/* From z to out. Where `kept` is given (training) and there is batch normalisation, the batch's
 * statistics go to kept->mean and kept->variance and into the rolling ones, and normalise; else z
 * may be out itself. */
dn_status dn_stage_cuda_forward(const dn_layer *layer, const dn_pass *pass,
                                const dn_output_stage *stage, const float *z,
                                const dn_stage_kept *kept);

/* From layer->out.grad to dL/dz; the parameters get their gradients. With batch normalisation dL/dz
 * goes to grad_z, which may be layer->out.grad, or is added to it (`add`); NULL: it is not wanted.
 * With a bias it takes the place of layer->out.grad, and grad_z and `add` are not read. */
dn_status dn_stage_cuda_backward(const dn_layer *layer, const dn_pass *pass,
                                 const dn_output_stage *stage, const dn_stage_kept *kept,
                                 float *grad_z, bool add);

/* Both for layers that leave z where dn_stage_target and dn_stage_keeps say, in place. */
dn_status dn_stage_cuda_finish(const dn_layer *layer, const dn_pass *pass,
                               const dn_output_stage *stage);
dn_status dn_stage_cuda_begin(const dn_layer *layer, const dn_pass *pass,
                              const dn_output_stage *stage);

#endif
