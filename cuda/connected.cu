/* [connected] on CUDA: products by cuBLAS (gemm.h), then the output stage. */
#include "gemm.h"
#include "output_stage.h"

#include "core/network.h"
#include "layers/connected.h"

static dn_status setup(dn_layer *layer, dn_network *network)
{
    (void)network;
    layer->workspace_floats = dn_stage_cuda_workspace(layer);
    return dn_cuda_gemm_prepare();
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_connected *state = (const dn_connected *)layer->state;
    dn_gemm_args product = dn_connected_forward(layer, dn_live(layer, pass), 1);
    product.a = dn_input(layer, pass, 0)->data;
    product.b = state->weights->data;
    product.c = dn_stage_target(layer, pass, &state->stage);
    DN_TRY(dn_cuda_gemm(&product, pass->network->options.products));
    return dn_stage_cuda_finish(layer, pass, &state->stage);
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_connected *state = (const dn_connected *)layer->state;
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int32_t images = dn_live(layer, pass);
    if (images == 0) return DN_OK;
    DN_TRY(dn_stage_cuda_begin(layer, pass, &state->stage));
    dn_gemm_args weights = dn_connected_weights(layer, images, 1);
    dn_gemm_args inputs = dn_connected_inputs(layer, images, 1);
    weights.a = inputs.a = layer->out.grad;
    weights.b = in->data;
    weights.c = state->weights->grad;
    inputs.b = state->weights->data;
    inputs.c = in->grad;
    if (weights.c) DN_TRY(dn_cuda_gemm(&weights, pass->network->options.products));
    return inputs.c ? dn_cuda_gemm(&inputs, pass->network->options.products) : DN_OK;
}

const dn_layer_kernels dn_connected_cuda = {forward, backward, setup, nullptr};
