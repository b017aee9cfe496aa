/* [dropout] on CUDA; the mask: math/dropout.h, the same as on the CPU. */
#include "launch.h"

#include "layers/dropout.h"

static __global__ void drop(dn_dropout mask, const float *in, float *out, int64_t count)
{
    DN_GRID_STRIDE(i, count) out[i] = in[i] * dn_dropout_factor(&mask, i);
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    float *out = layer->out.data;                     /* the same */
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    if (!pass->training) {
        DN_CUDA_TRY(
            cudaMemcpyAsync(out, in, (size_t)count * sizeof *out, cudaMemcpyDeviceToDevice));
        return DN_OK;
    }
    DN_LAUNCH(drop, count, dn_dropout_of(layer, pass), in, out, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static __global__ void add_gradient(dn_dropout mask, const float *grad, float *in_grad,
                                    int64_t count)
{
    DN_GRID_STRIDE(i, count) in_grad[i] += grad[i] * dn_dropout_factor(&mask, i);
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    float *in_grad = dn_input(layer, pass, 0)->grad; /* (n, c, h, w) */
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    if (!in_grad) return DN_OK;
    DN_LAUNCH(add_gradient, count, dn_dropout_of(layer, pass), layer->out.grad, in_grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_dropout_cuda = {forward, backward, nullptr, nullptr};
