/* [reorg] on CUDA, and what [reorg3d] shares; the permutation: math/reorg.h. */
#include "reorg.h"

#include "launch.h"
#include "layers/reorg.h"

/* Both ways, element after element of the deep map: to (+)= from, one of them at the element and
 * the other at its place in the large map. */
template <bool add>
static __global__ void permute(dn_reorg_geometry g, bool to_large, const float *from, float *to,
                               int64_t count)
{
    const int64_t size = (int64_t)g.c * g.h * g.w;
    DN_GRID_STRIDE(i, count) {
        const int64_t n = i / size, large = n * size + dn_reorg_source(&g, i - n * size);
        const float value = from[to_large ? i : large];
        float *place = to + (to_large ? large : i);
        *place = add ? *place + value : value;
    }
}

dn_status dn_reorg_cuda_forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_reorg *state = (const dn_reorg *)layer->state;
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    DN_LAUNCH(permute<false>, count, state->geometry, state->to_large,
              dn_input(layer, pass, 0)->data, layer->out.data, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_reorg_cuda_backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_reorg *state = (const dn_reorg *)layer->state;
    float *in_grad = dn_input(layer, pass, 0)->grad; /* (n, c, h, w) */
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    if (!in_grad) return DN_OK;
    DN_LAUNCH(permute<true>, count, state->geometry, !state->to_large, layer->out.grad, in_grad,
              count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_reorg_cuda = {dn_reorg_cuda_forward, dn_reorg_cuda_backward, nullptr,
                                        nullptr};
