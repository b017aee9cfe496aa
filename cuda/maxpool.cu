/* [maxpool] on CUDA; the windows: math/pool.h.
 *
 * A training forward keeps where each window's first maximum is. Backward gathers: an input cell
 * takes the gradient of each window, in the CPU's order, whose maximum it is.
 */
#include "layers/pool.h"
#include "place.h"

static dn_status setup(dn_layer *layer, dn_network *)
{
    static_assert(sizeof(int32_t) == sizeof(float), "an index takes the place of a float");
    layer->saved_floats = layer->trains ? layer->out.n * dn_tensor_size(&layer->out) : 0;
    return DN_OK;
}

/* winners, like out, may be NULL: the cell in its plane, or -1. */
static __global__ void take_maximum(dn_pool_geometry g, const float *in, float *out,
                                    int32_t *winners, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const dn_place place = dn_place_of(i, g.out_w, g.out_h);
        const float *cells = in + place.map * g.h * g.w;
        const int32_t at = dn_maxpool_argmax(&g, cells, place.y, place.x);
        out[i] = dn_maxpool_value(cells, at);
        if (winners) winners[i] = at;
    }
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_pool_geometry *g = (const dn_pool_geometry *)layer->state;
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    int32_t *winners = pass->training ? (int32_t *)(void *)layer->saved : nullptr;
    DN_LAUNCH(take_maximum, count, *g, dn_input(layer, pass, 0)->data, layer->out.data, winners,
              count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static __global__ void add_gradient(dn_pool_geometry g, const int32_t *winners, const float *grad,
                                    float *in_grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const dn_place place = dn_place_of(i, g.w, g.h);
        const dn_pool_span rows =
            dn_pool_windows_of(place.y, g.before, g.size, g.stride_y, g.out_h);
        const dn_pool_span columns =
            dn_pool_windows_of(place.x, g.before, g.size, g.stride_x, g.out_w);
        const int32_t at = place.y * g.w + place.x;
        const int64_t windows = place.map * g.out_h * g.out_w;
        float sum = in_grad[i];
        for (int32_t out_y = rows.first; out_y < rows.last; out_y++)
            for (int32_t out_x = columns.first; out_x < columns.last; out_x++) {
                const int64_t window = windows + out_y * g.out_w + out_x;
                if (winners[window] == at) sum += grad[window];
            }
        in_grad[i] = sum;
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_pool_geometry *g = (const dn_pool_geometry *)layer->state;
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(in);
    if (!in->grad) return DN_OK;
    DN_LAUNCH(add_gradient, count, *g, (const int32_t *)(const void *)layer->saved, layer->out.grad,
              in->grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_maxpool_cuda = {forward, backward, setup, nullptr};
