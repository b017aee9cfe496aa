/* [upsample] on CUDA: a thread is a small value and its block; math/upsample.h. */
#include "launch.h"

#include "layers/upsample.h"

/* The geometry with the factor that the kernel was compiled for; 0: any. */
template <int factor> static __device__ dn_upsample_geometry with_factor(dn_upsample_geometry g)
{
    if (factor > 0) g.factor = factor;
    return g;
}

/* large = (or += where `add`) the spread small values, `count` of them. */
template <int factor>
static __global__ void spread(dn_upsample_geometry any, const float *small, float *large,
                              int64_t count, bool add)
{
    const dn_upsample_geometry g = with_factor<factor>(any);
    DN_GRID_STRIDE(i, count) {
        const int64_t row = i / g.w;
        const int32_t x = (int32_t)(i - row * g.w);
        dn_upsample_spread(&g, small[i], large + dn_upsample_block(&g, row, x), add);
    }
}

/* small = (or += where `add`) the sums of the large planes' blocks. */
template <int factor>
static __global__ void collect(dn_upsample_geometry any, const float *large, float *small,
                               int64_t count, bool add)
{
    const dn_upsample_geometry g = with_factor<factor>(any);
    DN_GRID_STRIDE(i, count) {
        const int64_t row = i / g.w;
        const int32_t x = (int32_t)(i - row * g.w);
        const float value = dn_upsample_collect(&g, large + dn_upsample_block(&g, row, x));
        small[i] = add ? small[i] + value : value;
    }
}

typedef enum dn_upsample_way { DN_SPREAD, DN_COLLECT } dn_upsample_way;

/* Networks that are published double; that factor has kernels of its own. */
static dn_status launch(const dn_layer *layer, const dn_pass *pass, dn_upsample_way way,
                        const float *from, float *to, bool add)
{
    const dn_upsample_geometry g = *(const dn_upsample_geometry *)layer->state;
    const int64_t count = (int64_t)dn_live(layer, pass) * layer->out.c * g.h * g.w;
    if (way == DN_SPREAD && g.factor == 2)
        DN_LAUNCH(spread<2>, count, g, from, to, count, add);
    else if (way == DN_SPREAD)
        DN_LAUNCH(spread<0>, count, g, from, to, count, add);
    else if (g.factor == 2)
        DN_LAUNCH(collect<2>, count, g, from, to, count, add);
    else
        DN_LAUNCH(collect<0>, count, g, from, to, count, add);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static bool enlarges(const dn_layer *layer)
{
    return ((const dn_upsample_options *)layer->options)->stride > 0;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    return launch(layer, pass, enlarges(layer) ? DN_SPREAD : DN_COLLECT,
                  dn_input(layer, pass, 0)->data, layer->out.data, false);
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    float *in_grad = dn_input(layer, pass, 0)->grad; /* (n, c, h, w) */
    if (!in_grad) return DN_OK;
    return launch(layer, pass, enlarges(layer) ? DN_COLLECT : DN_SPREAD, layer->out.grad, in_grad,
                  true);
}

const dn_layer_kernels dn_upsample_cuda = {forward, backward, nullptr, nullptr};
