/* [batchnorm] on CUDA: the output stage alone, with the input as z. */
#include "output_stage.h"

#include "core/backend.h"

/* layer->saved holds the batch's statistics. */
static dn_stage_kept kept_of(const dn_layer *layer, const dn_pass *pass)
{
    const dn_stage_kept kept = {dn_input(layer, pass, 0)->data, layer->saved,
                                layer->saved + layer->out.c};
    return kept;
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    (void)network;
    layer->workspace_floats = dn_stage_cuda_workspace(layer);
    return DN_OK;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_output_stage *stage = (const dn_output_stage *)layer->state;
    const float *z = dn_input(layer, pass, 0)->data;
    if (!pass->training) return dn_stage_cuda_forward(layer, pass, stage, z, nullptr);
    const dn_stage_kept kept = kept_of(layer, pass);
    return dn_stage_cuda_forward(layer, pass, stage, z, &kept);
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_stage_kept kept = kept_of(layer, pass);
    return dn_stage_cuda_backward(layer, pass, (const dn_output_stage *)layer->state, &kept,
                                  dn_input(layer, pass, 0)->grad, true);
}

const dn_layer_kernels dn_batchnorm_cuda = {forward, backward, setup, nullptr};
