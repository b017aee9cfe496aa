/* Products of a map with scales on CUDA: see scale.h. Which scale belongs to an element:
 * math/scale.h. The gradient of a scale that serves a plane is summed in another order than the
 * CPU's, in double as there. */
#include "scale.h"

#include "launch.h"
#include "layers/scale.h"
#include "math/activation.h"
#include "sum.h"

static __device__ int64_t scale_index(const dn_scale_geometry *g, int64_t i)
{
    const int64_t row = i / g->plane;
    return dn_scale_index(g, row, i - row * g->plane);
}

static __global__ void multiply(dn_scale_geometry g, dn_activation kind, const float *map,
                                const float *scales, float *out, int64_t count)
{
    DN_GRID_STRIDE(i, count) out[i] = dn_activate(kind, map[i] * scales[scale_index(&g, i)]);
}

dn_status dn_scale_cuda_forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_scale_options *o = (const dn_scale_options *)layer->options;
    const dn_scale_geometry *g = (const dn_scale_geometry *)layer->state;
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    DN_LAUNCH(multiply, count, *g, (dn_activation)o->activation, dn_input(layer, pass, 1)->data,
              dn_input(layer, pass, 0)->data, layer->out.data, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* grad *= f', in place. */
static __global__ void through_activation(dn_scale_geometry g, dn_activation kind, const float *map,
                                          const float *scales, const float *out, float *grad,
                                          int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const float product = map[i] * scales[scale_index(&g, i)];
        grad[i] *= dn_activation_gradient(kind, product, out[i]);
    }
}

/* Scales of whole planes: a block a plane. */
static __global__ void add_plane_sums(const float *map, const float *grad, int64_t plane,
                                      float *scales_grad, int64_t planes)
{
    DN_BLOCK_STRIDE(p, planes)
    {
        double sum = 0.0;
        for (int64_t i = p * plane + threadIdx.x; i < (p + 1) * plane; i += blockDim.x)
            sum += (double)(grad[i] * map[i]);
        sum = dn_block_sum(sum);
        if (threadIdx.x == 0) scales_grad[p] += (float)sum;
    }
}

/* Scales of pixels, which all channels share, or of single values: a thread a scale. */
static __global__ void add_channel_sums(dn_scale_geometry g, const float *map, const float *grad,
                                        float *scales_grad, int64_t count)
{
    const int64_t channels = g.kind == DN_SCALE_PIXEL ? g.c : 1;
    DN_GRID_STRIDE(i, count) {
        const int64_t image = i / g.plane, first = image * channels * g.plane + i % g.plane;
        double sum = 0.0;
        for (int64_t c = 0; c < channels; c++) {
            const int64_t at = first + c * g.plane;
            sum += (double)(grad[at] * map[at]);
        }
        scales_grad[i] += (float)sum;
    }
}

static dn_status add_scales_gradient(const dn_scale_geometry *g, const float *map,
                                     const float *grad, float *scales_grad, int64_t scales)
{
    if (g->kind == DN_SCALE_CHANNEL)
        DN_LAUNCH_BLOCKS(add_plane_sums, scales, map, grad, g->plane, scales_grad, scales);
    else
        DN_LAUNCH(add_channel_sums, scales, *g, map, grad, scales_grad, scales);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static __global__ void add_map_gradient(dn_scale_geometry g, const float *scales, const float *grad,
                                        float *map_grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) map_grad[i] += grad[i] * scales[scale_index(&g, i)];
}

dn_status dn_scale_cuda_backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_scale_options *o = (const dn_scale_options *)layer->options;
    const dn_scale_geometry *g = (const dn_scale_geometry *)layer->state;
    const dn_tensor *scales = dn_input(layer, pass, 0), *map = dn_input(layer, pass, 1);
    const dn_tensor *out = &layer->out;
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(out);
    const int64_t scale_count = dn_live(layer, pass) * dn_tensor_size(scales);
    if (o->activation != DN_ACTIVATION_linear)
        DN_LAUNCH(through_activation, count, *g, (dn_activation)o->activation, map->data,
                  scales->data, out->data, out->grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    if (scales->grad)
        DN_TRY(add_scales_gradient(g, map->data, out->grad, scales->grad, scale_count));
    if (map->grad)
        DN_LAUNCH(add_map_gradient, count, *g, scales->data, out->grad, map->grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}
