/* The output stage on CUDA, forward: see output_stage.h.
 *
 * In inference one launch. With the batch's statistics one launch for the parts of the sums, where
 * there are several, and one in which each block adds the parts of its channel and goes over a part
 * of it. Statistics are sums of differences from the channel's first value, in double: one reading
 * of z is enough, and nothing is lost where the mean is large.
 */
#include "output_stage.h"

#include "stage_view.h"

template <typename Value>
static __device__ float first_of(const dn_stage_view *view, const Value *z, int32_t channel)
{
    return *(const float *)(z + channel * view->spatial);
}

/* The block's sums of differences from the channel's first value and of their squares. */
template <typename Value>
static __device__ dn_stage_sums differences(const dn_stage_view *view, const Value *z,
                                            int32_t channel, int32_t part)
{
    const int width = sizeof(Value) / sizeof(float);
    const double first = (double)first_of(view, z, channel);
    dn_stage_sums sums = {0.0, 0.0};
    dn_walk walk = dn_begin_walk(view, part);
    for (; walk.at < walk.end; dn_step_walk(view, &walk)) {
        const Value value = z[dn_walk_place(view, &walk, channel)];
        DN_UNROLL
        for (int k = 0; k < width; k++) {
            const double difference = (double)((const float *)&value)[k] - first;
            sums.first += difference;
            sums.second += difference * difference;
        }
    }
    sums.first = dn_block_sum(sums.first);
    sums.second = dn_block_sum(sums.second);
    return sums;
}

template <typename Value>
static __global__ void sum_differences(dn_stage_view view, const Value *z, double *parts,
                                       int64_t blocks)
{
    DN_BLOCK_STRIDE(b, blocks)
    dn_put_sums(parts, b,
                differences(&view, z, (int32_t)(b / view.parts), (int32_t)(b % view.parts)));
}

typedef struct dn_statistics {
    float mean, variance;
} dn_statistics;

static __device__ dn_statistics statistics_of(const dn_stage_view *view, dn_stage_sums sums,
                                              float first)
{
    const double shift = sums.first / (double)view->values;
    const double squares = sums.second - shift * sums.first;
    const dn_statistics made = {(float)((double)first + shift),
                                dn_batchnorm_variance(squares < 0.0 ? 0.0 : squares, view->values)};
    return made;
}

static __device__ float finished(const dn_stage_view *view, dn_channel_line line, float z)
{
    return dn_activate(view->activation, line.factor * z + line.shift);
}

typedef struct dn_stage_rolling {
    float *mean, *variance;
} dn_stage_rolling;

static __device__ void keep(const dn_stage_kept *kept, const dn_stage_rolling *rolling,
                            int32_t channel, dn_statistics now)
{
    kept->mean[channel] = now.mean;
    kept->variance[channel] = now.variance;
    rolling->mean[channel] = dn_batchnorm_roll(rolling->mean[channel], now.mean);
    rolling->variance[channel] = dn_batchnorm_roll(rolling->variance[channel], now.variance);
}

/* Block b: one part of one channel, with the batch's statistics; the first part's block keeps them.
 */
template <typename Value>
static __global__ void normalise(dn_stage_view view, const Value *z, const double *parts,
                                 dn_stage_kept kept, dn_stage_rolling rolling, Value *out,
                                 int64_t blocks)
{
    const int width = sizeof(Value) / sizeof(float);
    __shared__ dn_channel_line line;
    DN_BLOCK_STRIDE(b, blocks)
    {
        const int32_t channel = (int32_t)(b / view.parts), part = (int32_t)(b % view.parts);
        const dn_stage_sums sums = view.parts == 1 ? differences(&view, z, channel, part)
                                                   : dn_add_sums(&view, parts, channel);
        if (threadIdx.x == 0) {
            const dn_statistics now = statistics_of(&view, sums, first_of(&view, z, channel));
            line = dn_line_with(&view, channel, now.mean, now.variance);
            if (part == 0) keep(&kept, &rolling, channel, now);
        }
        __syncthreads();
        dn_walk walk = dn_begin_walk(&view, part);
        for (; walk.at < walk.end; dn_step_walk(&view, &walk)) {
            const int64_t place = dn_walk_place(&view, &walk, channel);
            Value value = z[place];
            DN_UNROLL
            for (int k = 0; k < width; k++) {
                float *at = (float *)&value + k;
                *at = finished(&view, line, *at);
            }
            out[place] = value;
        }
    }
}

template <typename Value>
static __global__ void finish(dn_stage_view view, const Value *z, Value *out, int64_t count)
{
    const int width = sizeof(Value) / sizeof(float);
    DN_GRID_STRIDE(i, count) {
        const dn_channel_line line = dn_line_of(&view, dn_channel_of(&view, i));
        Value value = z[i];
        DN_UNROLL
        for (int k = 0; k < width; k++) {
            float *at = (float *)&value + k;
            *at = finished(&view, line, *at);
        }
        out[i] = value;
    }
}

/* For each channel the parts of two sums, in double. */
int64_t dn_stage_cuda_workspace(const dn_layer *layer)
{
    const int64_t spatial = (int64_t)layer->out.h * layer->out.w;
    const int32_t parts = dn_sum_parts(layer->out.c, layer->out.n * spatial);
    return layer->trains ? 4 * (int64_t)layer->out.c * parts : 0;
}

template <typename Value>
static dn_status launch_normalise(dn_stage_view view, const dn_pass *pass,
                                  const dn_output_stage *stage, const Value *z,
                                  const dn_stage_kept *kept, Value *out)
{
    const int64_t blocks = (int64_t)view.channels * view.parts;
    const dn_stage_rolling rolling = {stage->mean->data, stage->variance->data};
    double *parts = (double *)pass->workspace;
    if (view.parts > 1) DN_LAUNCH_BLOCKS(sum_differences, blocks, view, z, parts, blocks);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH_BLOCKS(normalise, blocks, view, z, parts, *kept, rolling, out, blocks);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

template <typename Value>
static dn_status launch(dn_stage_view view, const dn_pass *pass, const dn_output_stage *stage,
                        const Value *z, const dn_stage_kept *kept, Value *out)
{
    const int64_t count = view.count * view.channels;
    if (kept && view.norm) return launch_normalise(view, pass, stage, z, kept, out);
    DN_LAUNCH(finish, count, view, z, out, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_stage_cuda_forward(const dn_layer *layer, const dn_pass *pass,
                                const dn_output_stage *stage, const float *z,
                                const dn_stage_kept *kept)
{
    const dn_stage_view view = dn_stage_view_of(layer, pass, stage, kept);
    float *out = layer->out.data;
    if (view.count == 0) return DN_OK;
    if (!dn_stage_takes_quads(&view, z, out, nullptr))
        return launch(view, pass, stage, z, kept, out);
    return launch(dn_stage_in_quads(view), pass, stage, (const dn_quad *)z, kept, (dn_quad *)out);
}

dn_status dn_stage_cuda_finish(const dn_layer *layer, const dn_pass *pass,
                               const dn_output_stage *stage)
{
    if (!pass->training || !dn_stage_keeps_pre(stage))
        return dn_stage_cuda_forward(layer, pass, stage, layer->out.data, nullptr);
    const dn_stage_kept kept = dn_stage_keeps(layer);
    return dn_stage_cuda_forward(layer, pass, stage, kept.pre, &kept);
}
