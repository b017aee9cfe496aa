/* [deconvolutional] on CUDA: the engine's convolution (conv.h) mirrored, then the output stage. */
#include "conv.h"
#include "output_stage.h"

#include "core/network.h"
#include "layers/deconvolutional.h"

static void destroy(dn_layer *layer)
{
    dn_cuda_conv_free((dn_cuda_conv *)layer->device);
    layer->device = nullptr;
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const int32_t channels = dn_input_shape(layer, network, 0)->c;
    const dn_conv_args args = dn_deconvolutional_args(layer, channels, layer->out.n, 1);
    dn_cuda_conv *conv = nullptr;
    destroy(layer);
    DN_TRY(dn_cuda_conv_make(&args, layer->trains ? DN_CONV_ALL : DN_CONV_BACKWARD_INPUT,
                             network->options.products, &conv));
    layer->device = conv;
    const int64_t product = dn_cuda_conv_workspace(conv), stage = dn_stage_cuda_workspace(layer);
    layer->workspace_floats = product > stage ? product : stage;
    return DN_OK;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_deconvolutional *state = (const dn_deconvolutional *)layer->state;
    DN_TRY(dn_cuda_conv_backward_input(
        (const dn_cuda_conv *)layer->device, dn_live(layer, pass), dn_input(layer, pass, 0)->data,
        state->weights->data, false, dn_stage_target(layer, pass, &state->stage), pass->workspace));
    return dn_stage_cuda_finish(layer, pass, &state->stage);
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_deconvolutional *state = (const dn_deconvolutional *)layer->state;
    const dn_cuda_conv *conv = (const dn_cuda_conv *)layer->device;
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int32_t images = dn_live(layer, pass);
    DN_TRY(dn_stage_cuda_begin(layer, pass, &state->stage));
    if (state->weights->grad)
        DN_TRY(dn_cuda_conv_backward_weights(conv, images, layer->out.grad, in->data,
                                             state->weights->grad, pass->workspace));
    if (!in->grad) return DN_OK;
    return dn_cuda_conv_forward(conv, images, layer->out.grad, state->weights->data, true, in->grad,
                                pass->workspace);
}

const dn_layer_kernels dn_deconvolutional_cuda = {forward, backward, setup, destroy};
