/* [cost] on CUDA; the errors: math/cost.h. */
#include "values.h"

#include "layers/cost.h"

struct cost_error {
    dn_cost kind;

    __device__ float operator()(float value, float wanted) const
    {
        return dn_cost_of(kind, value, wanted).error;
    }
};

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_cost_options *o = (const dn_cost_options *)layer->options;
    const size_t count = (size_t)(pass->batch * dn_tensor_size(&layer->out));
    DN_CUDA_TRY(cudaMemcpyAsync(layer->out.data, dn_input(layer, pass, 0)->data,
                                count * sizeof(float), cudaMemcpyDeviceToDevice));
    layer->loss = 0;
    if (!pass->training) return DN_OK;
    DN_TRY(
        dn_values_loss(layer, pass, dn_input(layer, pass, 0)->data, cost_error{(dn_cost)o->type}));
    layer->loss *= (double)o->scale;
    return DN_OK;
}

static __global__ void add_gradient(dn_cost kind, float scale, dn_wanted wanted, const float *in,
                                    const float *grad, float *in_grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        in_grad[i] += grad[i];
        if (dn_is_wanted(wanted, i))
            in_grad[i] += scale * dn_cost_of(kind, in[i], wanted.values[i]).grad;
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_cost_options *o = (const dn_cost_options *)layer->options;
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t count = pass->batch * dn_tensor_size(&layer->out);
    if (!in->grad) return DN_OK;
    DN_LAUNCH(add_gradient, count, (dn_cost)o->type, o->scale * pass->network->loss_scale,
              dn_values_of(layer), in->data, layer->out.grad, in->grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_cost_cuda = {forward, backward, dn_values_setup, dn_values_destroy};
