/* [upsample] on CUDA; one element: math/upsample.h. */
#include "launch.h"

#include "layers/upsample.h"

/* large = (or += where `add`) the spread small planes. */
static __global__ void spread(dn_upsample_geometry g, const float *small, float *large,
                              int64_t count, bool add)
{
    const int32_t width = g.w * g.factor, plane = g.h * g.factor * width;
    DN_GRID_STRIDE(i, count) {
        const int64_t p = i / plane;
        const int32_t at = (int32_t)(i - p * plane), y = at / width;
        const float value = dn_upsample_spread(&g, small + p * g.h * g.w, y, at - y * width);
        large[i] = add ? large[i] + value : value;
    }
}

/* small = (or += where `add`) the sums of the large planes' blocks. */
static __global__ void collect(dn_upsample_geometry g, const float *large, float *small,
                               int64_t count, bool add)
{
    const int32_t plane = g.h * g.w;
    const int64_t plane_large = (int64_t)plane * g.factor * g.factor;
    DN_GRID_STRIDE(i, count) {
        const int64_t p = i / plane;
        const int32_t at = (int32_t)(i - p * plane), y = at / g.w;
        const float value = dn_upsample_collect(&g, large + p * plane_large, y, at - y * g.w);
        small[i] = add ? small[i] + value : value;
    }
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_upsample_options *o = (const dn_upsample_options *)layer->options;
    const dn_upsample_geometry *g = (const dn_upsample_geometry *)layer->state;
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    if (o->stride > 0)
        DN_LAUNCH(spread, count, *g, in, layer->out.data, count, false);
    else
        DN_LAUNCH(collect, count, *g, in, layer->out.data, count, false);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_upsample_options *o = (const dn_upsample_options *)layer->options;
    const dn_upsample_geometry *g = (const dn_upsample_geometry *)layer->state;
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(in);
    if (!in->grad) return DN_OK;
    if (o->stride > 0)
        DN_LAUNCH(collect, count, *g, layer->out.grad, in->grad, count, true);
    else
        DN_LAUNCH(spread, count, *g, layer->out.grad, in->grad, count, true);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_upsample_cuda = {forward, backward, nullptr, nullptr};
