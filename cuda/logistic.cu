/* [logistic] on CUDA; its loss: math/logistic.h. */
#include "values.h"

#include "math/activation.h"
#include "math/logistic.h"

static __global__ void activate(const float *in, float *out, int64_t count)
{
    DN_GRID_STRIDE(i, count) out[i] = dn_logistic(in[i]);
}

static __global__ void add_losses(dn_wanted wanted, const float *in, int64_t count, double *sums,
                                  int64_t lanes)
{
    DN_GRID_STRIDE(lane, lanes) {
        double sum = 0.0;
        for (int64_t i = lane; i < count; i += lanes)
            if (dn_is_wanted(wanted, i)) sum += (double)dn_logistic_loss(in[i], wanted.values[i]);
        sums[lane] = sum;
    }
}

static dn_status find_loss(dn_layer *layer, const dn_pass *pass)
{
    const int64_t count = pass->batch * dn_tensor_size(&layer->out);
    const int64_t lanes = dn_values_lanes(layer, pass);
    dn_wanted wanted;
    double sum = 0;
    DN_TRY(dn_values_send(layer, pass, &wanted));
    if (wanted.present) {
        DN_LAUNCH(add_losses, lanes, wanted, dn_input(layer, pass, 0)->data, count,
                  (double *)(void *)pass->workspace, lanes);
        DN_CUDA_TRY(cudaGetLastError());
        DN_TRY(dn_values_sum(layer, pass, &sum));
    }
    layer->loss = sum / pass->batch;
    return DN_OK;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    DN_LAUNCH(activate, count, dn_input(layer, pass, 0)->data, layer->out.data, count);
    DN_CUDA_TRY(cudaGetLastError());
    return pass->training && layer->has_loss ? find_loss(layer, pass) : DN_OK;
}

static __global__ void add_gradient(dn_wanted wanted, const float *out, const float *grad,
                                    float *in_grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const float p = out[i];
        in_grad[i] += grad[i] * p * (1.0f - p);
        if (dn_is_wanted(wanted, i)) in_grad[i] += p - wanted.values[i];
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    float *in_grad = dn_input(layer, pass, 0)->grad;
    if (!in_grad) return DN_OK;
    DN_LAUNCH(add_gradient, count, dn_values_of(layer), layer->out.data, layer->out.grad, in_grad,
              count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_logistic_cuda = {forward, backward, dn_values_setup, dn_values_destroy};
