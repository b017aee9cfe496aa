/* [activation] on CUDA; the functions: math/activation.h. */
#include "launch.h"

#include "layers/activation.h"

static __global__ void activate(dn_activation kind, const float *in, float *out, int64_t count)
{
    DN_GRID_STRIDE(i, count) out[i] = dn_activate(kind, in[i]);
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_activation_options *o = (const dn_activation_options *)layer->options;
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    DN_LAUNCH(activate, count, (dn_activation)o->activation, dn_input(layer, pass, 0)->data,
              layer->out.data, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static __global__ void add_gradient(dn_activation kind, const float *in, const float *out,
                                    const float *grad, float *in_grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) in_grad[i] += grad[i] * dn_activation_gradient(kind, in[i], out[i]);
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_activation_options *o = (const dn_activation_options *)layer->options;
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    if (!in->grad) return DN_OK;
    DN_LAUNCH(add_gradient, count, (dn_activation)o->activation, in->data, layer->out.data,
              layer->out.grad, in->grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_activation_cuda = {forward, backward, nullptr, nullptr};
