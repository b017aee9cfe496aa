/* [maxpool] on CUDA; the windows: math/pool.h.
 *
 * Backward gathers: an input cell looks at each window that holds it, in the CPU's order, and takes
 * the gradient where it is the window's first maximum. The look at a window ends at the first value
 * that beats the cell, so the cost stays far below size^4 a cell.
 */
#include "launch.h"

#include "layers/pool.h"

static __global__ void take_maximum(dn_pool_geometry g, const float *in, float *out, int64_t count)
{
    const int32_t plane = g.out_h * g.out_w;
    DN_GRID_STRIDE(i, count) {
        const int64_t p = i / plane;
        const int32_t at = (int32_t)(i - p * plane), y = at / g.out_w;
        out[i] = dn_maxpool_max(&g, in + p * g.h * g.w, y, at - y * g.out_w);
    }
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_pool_geometry *g = (const dn_pool_geometry *)layer->state;
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    DN_LAUNCH(take_maximum, count, *g, dn_input(layer, pass, 0)->data, layer->out.data, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* Whether cell `at` of the plane, inside the window, is its first maximum. */
static __device__ bool wins(const dn_pool_geometry *g, const float *plane, int32_t out_y,
                            int32_t out_x, int32_t at)
{
    const dn_pool_window window = dn_pool_window_at(g, out_y, out_x);
    for (int32_t y = window.top; y < window.bottom; y++)
        for (int32_t x = window.left; x < window.right; x++) {
            const int32_t other = y * g->w + x;
            if (other < at ? plane[other] >= plane[at] : plane[other] > plane[at]) return false;
        }
    return true;
}

/* First window of an axis that reaches cell `cell`. */
static __device__ int32_t first_window(int32_t cell, int32_t before, int32_t size, int32_t stride)
{
    const int32_t start = cell + before - size + 1;
    return start <= 0 ? 0 : (start + stride - 1) / stride;
}

static __global__ void add_gradient(dn_pool_geometry g, const float *in, const float *grad,
                                    float *in_grad, int64_t count)
{
    const int32_t plane = g.h * g.w, plane_out = g.out_h * g.out_w;
    DN_GRID_STRIDE(i, count) {
        const int64_t p = i / plane;
        const int32_t at = (int32_t)(i - p * plane), y = at / g.w, x = at - y * g.w;
        const int32_t last_y = (y + g.before) / g.stride_y, last_x = (x + g.before) / g.stride_x;
        float sum = in_grad[i];
        for (int32_t out_y = first_window(y, g.before, g.size, g.stride_y);
             out_y <= last_y && out_y < g.out_h; out_y++)
            for (int32_t out_x = first_window(x, g.before, g.size, g.stride_x);
                 out_x <= last_x && out_x < g.out_w; out_x++)
                if (wins(&g, in + p * plane, out_y, out_x, at))
                    sum += grad[p * plane_out + out_y * g.out_w + out_x];
        in_grad[i] = sum;
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_pool_geometry *g = (const dn_pool_geometry *)layer->state;
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(in);
    if (!in->grad) return DN_OK;
    DN_LAUNCH(add_gradient, count, *g, in->data, layer->out.grad, in->grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_maxpool_cuda = {forward, backward, nullptr, nullptr};
