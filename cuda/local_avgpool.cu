/* [local_avgpool] on CUDA; the windows: math/pool.h. Backward gathers: an input cell adds its share
 * of each window that holds it, in the CPU's order. */
#include "layers/pool.h"
#include "place.h"

static __global__ void average(dn_pool_geometry g, const float *in, float *out, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const dn_place place = dn_place_of(i, g.out_w, g.out_h);
        out[i] = dn_pool_average(&g, in + place.map * g.h * g.w, place.y, place.x);
    }
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_pool_geometry *g = (const dn_pool_geometry *)layer->state;
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    DN_LAUNCH(average, count, *g, dn_input(layer, pass, 0)->data, layer->out.data, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static __global__ void add_shares(dn_pool_geometry g, const float *grad, float *in_grad,
                                  int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const dn_place place = dn_place_of(i, g.w, g.h);
        const dn_pool_span rows =
            dn_pool_windows_of(place.y, g.before, g.size, g.stride_y, g.out_h);
        const dn_pool_span columns =
            dn_pool_windows_of(place.x, g.before, g.size, g.stride_x, g.out_w);
        const float *plane_grad = grad + place.map * g.out_h * g.out_w;
        float sum = in_grad[i];
        for (int32_t out_y = rows.first; out_y < rows.last; out_y++)
            for (int32_t out_x = columns.first; out_x < columns.last; out_x++) {
                const dn_pool_window window = dn_pool_window_at(&g, out_y, out_x);
                sum += dn_mean_share(plane_grad[out_y * g.out_w + out_x],
                                     dn_pool_window_size(&window));
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
    DN_LAUNCH(add_shares, count, *g, layer->out.grad, in->grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_local_avgpool_cuda = {forward, backward, nullptr, nullptr};
