/* Depthwise convolutions on CUDA: see conv_depthwise.h.
 *
 * Forward and the input's gradient: a thread an element, which gathers its taps. The weights'
 * gradient: a block adds one part of the products of one tap (sum.h).
 */
#include "conv_depthwise.h"

#include "launch.h"
#include "sum.h"

typedef struct dn_maps {
    dn_conv_geometry geometry;
    int32_t images, channels;
} dn_maps;

static __global__ void convolve(dn_maps maps, const float *in, const float *weights,
                                bool accumulate, float *out, int64_t count)
{
    const dn_conv_geometry *g = &maps.geometry;
    DN_GRID_STRIDE(i, count) {
        const int32_t x = (int32_t)(i % g->out_w), y = (int32_t)(i / g->out_w % g->out_h);
        const int64_t map = i / ((int64_t)g->out_w * g->out_h);
        const float *plane = in + map * g->h * g->w;
        const float *tap = weights + map % maps.channels * g->size * g->size;
        const int32_t x0 = x * g->stride_x - g->pad, y0 = y * g->stride_y - g->pad;
        float sum = 0.0f;
        for (int32_t ky = 0; ky < g->size; ky++) {
            const int32_t from_y = y0 + ky * g->dilation;
            for (int32_t kx = 0; kx < g->size; kx++, tap++) {
                const int32_t from_x = x0 + kx * g->dilation;
                if (from_y >= 0 && from_y < g->h && from_x >= 0 && from_x < g->w)
                    sum += *tap * plane[(int64_t)from_y * g->w + from_x];
            }
        }
        out[i] = accumulate ? out[i] + sum : sum;
    }
}

static dn_maps maps_of(const dn_conv_args *args, int32_t images)
{
    const dn_maps maps = {args->geometry, images, args->groups};
    return maps;
}

dn_status dn_depthwise_cuda_forward(const dn_conv_args *args, int32_t images, const float *in,
                                    const float *weights, bool accumulate, float *out)
{
    const dn_conv_geometry *g = &args->geometry;
    const int64_t count = (int64_t)images * args->groups * g->out_h * g->out_w;
    DN_LAUNCH(convolve, count, maps_of(args, images), in, weights, accumulate, out, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static __global__ void gather_gradient(dn_maps maps, const float *grad_out, const float *weights,
                                       bool accumulate, float *grad_in, int64_t count)
{
    const dn_conv_geometry *g = &maps.geometry;
    DN_GRID_STRIDE(i, count) {
        const int32_t x = (int32_t)(i % g->w) + g->pad, y = (int32_t)(i / g->w % g->h) + g->pad;
        const int64_t map = i / ((int64_t)g->w * g->h);
        const float *plane = grad_out + map * g->out_h * g->out_w;
        const float *taps = weights + map % maps.channels * g->size * g->size;
        float sum = 0.0f;
        for (int32_t ky = 0; ky < g->size; ky++) {
            const int32_t begin_y = y - ky * g->dilation, out_y = begin_y / g->stride_y;
            if (begin_y < 0 || out_y >= g->out_h || out_y * g->stride_y != begin_y) continue;
            for (int32_t kx = 0; kx < g->size; kx++) {
                const int32_t begin_x = x - kx * g->dilation, out_x = begin_x / g->stride_x;
                if (begin_x < 0 || out_x >= g->out_w || out_x * g->stride_x != begin_x) continue;
                sum += taps[ky * g->size + kx] * plane[(int64_t)out_y * g->out_w + out_x];
            }
        }
        grad_in[i] = accumulate ? grad_in[i] + sum : sum;
    }
}

dn_status dn_depthwise_cuda_backward_input(const dn_conv_args *args, int32_t images,
                                           const float *grad_out, const float *weights,
                                           bool accumulate, float *grad_in)
{
    const dn_conv_geometry *g = &args->geometry;
    const int64_t count = (int64_t)images * args->groups * g->h * g->w;
    DN_LAUNCH(gather_gradient, count, maps_of(args, images), grad_out, weights, accumulate, grad_in,
              count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* What output value `at` of channel `channel` contributes to the gradient of tap `tap`. */
static __device__ double contribution(const dn_maps *maps, const float *in, const float *grad_out,
                                      int32_t channel, int32_t tap, int64_t at)
{
    const dn_conv_geometry *g = &maps->geometry;
    const int64_t plane = (int64_t)g->out_h * g->out_w, n = at / plane;
    const int32_t pixel = (int32_t)(at - n * plane), y = pixel / g->out_w, x = pixel % g->out_w;
    const int32_t from_y = y * g->stride_y - g->pad + tap / g->size * g->dilation;
    const int32_t from_x = x * g->stride_x - g->pad + tap % g->size * g->dilation;
    if (from_y < 0 || from_y >= g->h || from_x < 0 || from_x >= g->w) return 0.0;
    const int64_t map = n * maps->channels + channel;
    return (double)(in[(map * g->h + from_y) * g->w + from_x] * grad_out[map * plane + pixel]);
}

static __global__ void sum_parts(dn_maps maps, const float *in, const float *grad_out,
                                 int32_t parts, double *sums, int64_t blocks)
{
    const dn_conv_geometry *g = &maps.geometry;
    const int32_t taps = g->size * g->size;
    const int64_t count = (int64_t)maps.images * g->out_h * g->out_w;
    DN_BLOCK_STRIDE(b, blocks)
    {
        const int64_t weight = b / parts;
        const int32_t part = (int32_t)(b % parts);
        const int64_t end = dn_part_begin(count, parts, part + 1);
        double sum = 0.0;
        for (int64_t i = dn_part_begin(count, parts, part) + threadIdx.x; i < end; i += blockDim.x)
            sum += contribution(&maps, in, grad_out, (int32_t)(weight / taps),
                                (int32_t)(weight % taps), i);
        sum = dn_block_sum(sum);
        if (threadIdx.x == 0) sums[b] = sum;
    }
}

static __global__ void add_parts(const double *sums, int32_t parts, float *grad_weights,
                                 int64_t count)
{
    DN_GRID_STRIDE(i, count) grad_weights[i] += (float)dn_parts_sum(sums, i, parts, 1);
}

static int64_t weights_of(const dn_conv_args *args)
{
    return (int64_t)args->groups * args->geometry.size * args->geometry.size;
}

static int32_t parts_of(const dn_conv_args *args, int32_t images)
{
    const int64_t count = (int64_t)images * args->geometry.out_h * args->geometry.out_w;
    return dn_sum_parts(weights_of(args), count);
}

int64_t dn_depthwise_cuda_workspace(const dn_conv_args *args, int32_t images)
{
    return 2 * weights_of(args) * parts_of(args, images); /* doubles */
}

dn_status dn_depthwise_cuda_backward_weights(const dn_conv_args *args, int32_t images,
                                             const float *in, const float *grad_out,
                                             float *grad_weights, float *workspace)
{
    const int32_t parts = parts_of(args, images);
    const int64_t weights = weights_of(args), blocks = weights * parts;
    double *sums = (double *)workspace;
    DN_LAUNCH_BLOCKS(sum_parts, blocks, maps_of(args, images), in, grad_out, parts, sums, blocks);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(add_parts, weights, sums, parts, grad_weights, weights);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}
