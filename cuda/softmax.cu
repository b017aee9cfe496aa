/* [softmax] on CUDA, one thread a vector; its arithmetic: math/softmax.h. */
#include "values.h"

#include "math/softmax.h"

static __global__ void normalize(dn_softmax_geometry g, int64_t size, const float *in, float *out,
                                 int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const int64_t at = i / g.vectors * size + dn_softmax_start(&g, i % g.vectors);
        dn_softmax(&g, in + at, out + at);
    }
}

struct softmax_loss {
    __device__ double operator()(float probability, float wanted) const
    {
        return dn_softmax_loss(probability, wanted);
    }
};

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_softmax_geometry *g = (const dn_softmax_geometry *)layer->state;
    const int64_t vectors = dn_live(layer, pass) * g->vectors;
    DN_LAUNCH(normalize, vectors, *g, dn_tensor_size(&layer->out), dn_input(layer, pass, 0)->data,
              layer->out.data, vectors);
    DN_CUDA_TRY(cudaGetLastError());
    if (!pass->training || !layer->has_loss) return DN_OK;
    return dn_values_loss(layer, pass, layer->out.data, softmax_loss());
}

static __global__ void add_gradient(dn_softmax_geometry g, dn_wanted wanted, float factor,
                                    const float *out, const float *grad, float *in_grad,
                                    int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const int64_t at = i / g.vectors * wanted.size + dn_softmax_start(&g, i % g.vectors);
        dn_softmax_backward(&g, out + at, grad + at, in_grad + at);
        if (dn_is_wanted(wanted, at))
            dn_softmax_loss_backward(&g, out + at, wanted.values + at, factor, in_grad + at);
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_softmax_geometry *g = (const dn_softmax_geometry *)layer->state;
    const int64_t vectors = dn_live(layer, pass) * g->vectors;
    float *in_grad = dn_input(layer, pass, 0)->grad;
    if (!in_grad) return DN_OK;
    DN_LAUNCH(add_gradient, vectors, *g, dn_values_of(layer), pass->network->loss_scale,
              layer->out.data, layer->out.grad, in_grad, vectors);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_softmax_cuda = {forward, backward, dn_values_setup, dn_values_destroy};
