/* [activation] on CUDA; the functions: math/activation.h. Quads where places and the count allow.
 */
#include "activation.h"

#include "layers/activation.h"

template <typename Value>
static __global__ void activate(dn_activation kind, const Value *in, Value *out, int64_t count)
{
    DN_GRID_STRIDE(i, count) out[i] = dn_activated(kind, in[i]);
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_activation kind =
        (dn_activation)((const dn_activation_options *)layer->options)->activation;
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    const float *in = dn_input(layer, pass, 0)->data;
    float *out = layer->out.data;
    if (count % 4 == 0 && dn_is_quad_place(in) && dn_is_quad_place(out))
        DN_LAUNCH(activate, count / 4, kind, (const dn_quad *)in, (dn_quad *)out, count / 4);
    else
        DN_LAUNCH(activate, count, kind, in, out, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

template <typename Value>
static __global__ void add_gradient(dn_activation kind, const Value *in, const Value *out,
                                    const Value *grad, Value *in_grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) in_grad[i] = in_grad[i] + grad[i] * dn_slope(kind, in[i], out[i]);
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_activation kind =
        (dn_activation)((const dn_activation_options *)layer->options)->activation;
    const dn_tensor *in = dn_input(layer, pass, 0), *out = &layer->out;
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(out);
    if (!in->grad) return DN_OK;
    if (count % 4 == 0 && dn_is_quad_place(in->data) && dn_is_quad_place(in->grad) &&
        dn_is_quad_place(out->data) && dn_is_quad_place(out->grad))
        DN_LAUNCH(add_gradient, count / 4, kind, (const dn_quad *)in->data,
                  (const dn_quad *)out->data, (const dn_quad *)out->grad, (dn_quad *)in->grad,
                  count / 4);
    else
        DN_LAUNCH(add_gradient, count, kind, in->data, out->data, out->grad, in->grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_activation_cuda = {forward, backward, nullptr, nullptr};
