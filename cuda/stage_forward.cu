/* The output stage on CUDA, forward: see output_stage.h.
 *
 * In training two launches for the batch's statistics (parts of sums, then a thread a channel) and
 * one for the rest; in inference that one alone. Statistics are sums of differences from the
 * channel's first value, in double: one reading of z is enough, and nothing is lost where the mean
 * is large.
 */
#include "output_stage.h"

#include "stage_view.h"

template <typename Value>
static __global__ void sum_differences(dn_stage_view view, const Value *z, double *sums,
                                       int64_t blocks)
{
    const int width = sizeof(Value) / sizeof(float);
    DN_BLOCK_STRIDE(b, blocks)
    {
        const int32_t channel = (int32_t)(b / view.parts);
        const double first = (double)*(const float *)(z + channel * view.spatial);
        double sum = 0.0, squares = 0.0;
        dn_walk walk = dn_begin_walk(&view, (int32_t)(b % view.parts));
        for (; walk.at < walk.end; dn_step_walk(&view, &walk)) {
            const Value value = z[dn_walk_place(&view, &walk, channel)];
            for (int k = 0; k < width; k++) {
                const double difference = (double)((const float *)&value)[k] - first;
                sum += difference;
                squares += difference * difference;
            }
        }
        sum = dn_block_sum(sum);
        squares = dn_block_sum(squares);
        if (threadIdx.x > 0) continue;
        sums[2 * b] = sum;
        sums[2 * b + 1] = squares;
    }
}

/* z at its first channel's first value; one map is `spatial` floats. */
static __global__ void finish_statistics(dn_stage_view view, const float *z, const double *sums,
                                         dn_stage_kept kept, float *rolling_mean,
                                         float *rolling_variance)
{
    DN_GRID_STRIDE(c, view.channels) {
        const double sum = dn_parts_sum(sums, c, view.parts, 2);
        const double squares = dn_parts_sum(sums + 1, c, view.parts, 2);
        const double shift = sum / (double)view.values;
        const float mean = (float)((double)z[c * view.spatial] + shift);
        const float variance = dn_batchnorm_variance(fmax(squares - shift * sum, 0.0), view.values);
        kept.mean[c] = mean;
        kept.variance[c] = variance;
        rolling_mean[c] = dn_batchnorm_roll(rolling_mean[c], mean);
        rolling_variance[c] = dn_batchnorm_roll(rolling_variance[c], variance);
    }
}

template <typename Value>
static __global__ void finish(dn_stage_view view, const Value *z, Value *out, int64_t count)
{
    const int width = sizeof(Value) / sizeof(float);
    DN_GRID_STRIDE(i, count) {
        const dn_channel_line line = dn_line_of(&view, dn_channel_of(&view, i));
        Value value = z[i];
        for (int k = 0; k < width; k++) {
            float *at = (float *)&value + k;
            *at = dn_activate(view.activation, line.factor * *at + line.shift);
        }
        out[i] = value;
    }
}

/* For each channel the parts of two sums, in double, then two floats. */
int64_t dn_stage_cuda_workspace(const dn_layer *layer)
{
    const int64_t spatial = (int64_t)layer->out.h * layer->out.w;
    const int32_t parts = dn_sum_parts(layer->out.c, layer->out.n * spatial);
    return layer->trains ? layer->out.c * (4 * (int64_t)parts + 2) : 0;
}

template <typename Value>
static dn_status launch(dn_stage_view view, const dn_pass *pass, const dn_output_stage *stage,
                        const Value *z, const dn_stage_kept *kept, Value *out)
{
    const int64_t blocks = (int64_t)view.channels * view.parts, count = view.count * view.channels;
    double *sums = (double *)pass->workspace;
    if (kept && view.norm) {
        dn_stage_view floats = view;
        floats.spatial *= sizeof(Value) / sizeof(float);
        DN_LAUNCH_BLOCKS(sum_differences, blocks, view, z, sums, blocks);
        DN_CUDA_TRY(cudaGetLastError());
        DN_LAUNCH(finish_statistics, view.channels, floats, (const float *)z, sums, *kept,
                  stage->mean->data, stage->variance->data);
        DN_CUDA_TRY(cudaGetLastError());
    }
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
