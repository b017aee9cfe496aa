/* Depthwise convolutions on CUDA: see conv_depthwise.h.
 *
 * Forward and the input's gradient: a thread an element, which gathers its taps. The weights'
 * gradient: a block adds one part of the products of some taps (sum.h).
 */
#include "conv_depthwise.h"

#include "launch.h"
#include "place.h"
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
        const dn_place at = dn_place_of(i, g->out_w, g->out_h);
        const float *plane = in + at.map * g->h * g->w;
        const float *tap = weights + at.map % maps.channels * g->size * g->size;
        const int32_t x0 = at.x * g->stride_x - g->pad, y0 = at.y * g->stride_y - g->pad;
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
        const dn_place at = dn_place_of(i, g->w, g->h);
        const int32_t x = at.x + g->pad, y = at.y + g->pad;
        const float *plane = grad_out + at.map * g->out_h * g->out_w;
        const float *taps = weights + at.map % maps.channels * g->size * g->size;
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

/* sums[k] += what output (n, y, x) of one channel contributes to the gradients of taps first ..
 * first + count - 1. */
template <int count>
static __device__ void contribute(const dn_conv_geometry *g, const float *plane, dn_place at,
                                  float grad, int32_t first, double *sums)
{
    const int32_t x0 = at.x * g->stride_x - g->pad, y0 = at.y * g->stride_y - g->pad;
    int32_t ky = first / g->size, kx = first - ky * g->size;
    DN_UNROLL
    for (int k = 0; k < count; k++) {
        const int32_t y = y0 + ky * g->dilation, x = x0 + kx * g->dilation;
        const bool there = ky < g->size && y >= 0 && y < g->h && x >= 0 && x < g->w;
        if (there) sums[k] += (double)(plane[(int64_t)y * g->w + x] * grad);
        if (++kx == g->size) {
            kx = 0;
            ky++;
        }
    }
}

/* Taps that a thread adds up beside each other, in registers. */
enum { TAPS = 9 };

static __host__ __device__ int32_t tap_groups(const dn_conv_geometry *g)
{
    return (g->size * g->size + TAPS - 1) / TAPS;
}

/* Block b: one part of the sums of one group of taps of one channel. */
static __global__ void sum_parts(dn_maps maps, const float *in, const float *grad_out,
                                 int32_t parts, double *sums, int64_t blocks)
{
    const dn_conv_geometry *g = &maps.geometry;
    const int32_t taps = g->size * g->size, groups = tap_groups(g);
    const int64_t out_plane = (int64_t)g->out_h * g->out_w, count = maps.images * out_plane;
    DN_BLOCK_STRIDE(b, blocks)
    {
        const int32_t part = (int32_t)(b % parts), group = (int32_t)(b / parts % groups);
        const int64_t channel = b / parts / groups, end = dn_part_begin(count, parts, part + 1);
        double own[TAPS] = {};
        for (int64_t i = dn_part_begin(count, parts, part) + threadIdx.x; i < end;
             i += blockDim.x) {
            const dn_place at = dn_place_of(i, g->out_w, g->out_h);
            const int64_t map = at.map * maps.channels + channel;
            const float grad = grad_out[map * out_plane + (int64_t)at.y * g->out_w + at.x];
            contribute<TAPS>(g, in + map * g->h * g->w, at, grad, group * TAPS, own);
        }
        DN_UNROLL
        for (int32_t k = 0; k < TAPS; k++) {
            const int32_t tap = group * TAPS + k;
            const double sum = dn_block_sum(own[k]);
            if (threadIdx.x == 0 && tap < taps) sums[(channel * taps + tap) * parts + part] = sum;
        }
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
    return dn_sum_parts((int64_t)args->groups * tap_groups(&args->geometry), count);
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
    const int64_t weights = weights_of(args);
    const int64_t blocks = (int64_t)args->groups * tap_groups(&args->geometry) * parts;
    double *sums = (double *)workspace;
    DN_LAUNCH_BLOCKS(sum_parts, blocks, maps_of(args, images), in, grad_out, parts, sums, blocks);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(add_parts, weights, sums, parts, grad_weights, weights);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}
