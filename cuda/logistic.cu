/* [logistic] on CUDA; its loss: math/logistic.h. */
#include "values.h"

#include "math/activation.h"
#include "math/logistic.h"

static __global__ void activate(const float *in, float *out, int64_t count)
{
    DN_GRID_STRIDE(i, count) out[i] = dn_logistic(in[i]);
}

struct logistic_loss {
    __device__ float operator()(float logit, float wanted) const
    {
        return dn_logistic_loss(logit, wanted);
    }
};

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    DN_LAUNCH(activate, count, dn_input(layer, pass, 0)->data, layer->out.data, count);
    DN_CUDA_TRY(cudaGetLastError());
    if (!pass->training || !layer->has_loss) return DN_OK;
    return dn_values_loss(layer, pass, dn_input(layer, pass, 0)->data, logistic_loss());
}

static __global__ void add_gradient(dn_wanted wanted, float factor, const float *out,
                                    const float *grad, float *in_grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const float p = out[i];
        in_grad[i] += grad[i] * p * (1.0f - p);
        if (dn_is_wanted(wanted, i)) in_grad[i] += factor * (p - wanted.values[i]);
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    float *in_grad = dn_input(layer, pass, 0)->grad;
    if (!in_grad) return DN_OK;
    DN_LAUNCH(add_gradient, count, dn_values_of(layer), pass->network->loss_scale, layer->out.data,
              layer->out.grad, in_grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_logistic_cuda = {forward, backward, dn_values_setup, dn_values_destroy};
