/* [crop] on CUDA; which part: math/crop.h, the same as on the CPU. */
#include "launch.h"

#include "layers/crop.h"

/* Index in the input of element i of the output. */
static __device__ int64_t source_of(const dn_cut *crop, int32_t channels, int64_t i)
{
    const int64_t row = i / crop->out_w, plane = row / crop->out_h;
    const dn_cut_place place = dn_cut_place_of(crop, (int32_t)(plane / channels));
    const int32_t y = (int32_t)(row - plane * crop->out_h), x = (int32_t)(i - row * crop->out_w);
    return plane * crop->h * crop->w + dn_cut_source(crop, place, y, x);
}

static __global__ void cut(dn_cut crop, int32_t channels, const float *in, float *out,
                           int64_t count)
{
    DN_GRID_STRIDE(i, count) out[i] = crop.factor * in[source_of(&crop, channels, i)] + crop.shift;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    DN_LAUNCH(cut, count, dn_cut_of(layer, pass), layer->out.c, dn_input(layer, pass, 0)->data,
              layer->out.data, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static __global__ void add_gradient(dn_cut crop, int32_t channels, const float *grad,
                                    float *in_grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) in_grad[source_of(&crop, channels, i)] += crop.factor * grad[i];
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    float *in_grad = dn_input(layer, pass, 0)->grad; /* (n, c, h, w) */
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    if (!in_grad) return DN_OK;
    DN_LAUNCH(add_gradient, count, dn_cut_of(layer, pass), layer->out.c, layer->out.grad, in_grad,
              count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_crop_cuda = {forward, backward, nullptr, nullptr};
