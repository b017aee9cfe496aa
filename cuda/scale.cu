/* Products of a map with scales on CUDA: see scale.h. Which scale belongs to an element:
 * math/scale.h.
 * Limit: the gradient of a scale that serves many elements is summed by one thread, in the CPU's
 * order. */
#include "scale.h"

#include "launch.h"
#include "layers/scale.h"
#include "math/activation.h"

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

/* The elements first, first + step, ... that share one scale. */
typedef struct dn_sharing {
    int64_t first, step;
    int64_t count;
} dn_sharing;

static __device__ dn_sharing sharing_of(const dn_scale_geometry *g, int64_t scale)
{
    dn_sharing sharing = {scale, 1, 1};
    switch (g->kind) {
    case DN_SCALE_CHANNEL:
        sharing.first = scale * g->plane;
        sharing.count = g->plane;
        break;
    case DN_SCALE_PIXEL:
        sharing.first = scale / g->plane * g->c * g->plane + scale % g->plane;
        sharing.step = g->plane;
        sharing.count = g->c;
        break;
    case DN_SCALE_VALUE:
        break;
    }
    return sharing;
}

static __global__ void add_scales_gradient(dn_scale_geometry g, const float *map, const float *grad,
                                           float *scales_grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const dn_sharing sharing = sharing_of(&g, i);
        double sum = 0.0;
        for (int64_t k = 0; k < sharing.count; k++) {
            const int64_t at = sharing.first + k * sharing.step;
            sum += (double)(grad[at] * map[at]);
        }
        scales_grad[i] += (float)sum;
    }
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
        DN_LAUNCH(add_scales_gradient, scale_count, *g, map->data, out->grad, scales->grad,
                  scale_count);
    DN_CUDA_TRY(cudaGetLastError());
    if (map->grad)
        DN_LAUNCH(add_map_gradient, count, *g, scales->data, out->grad, map->grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}
