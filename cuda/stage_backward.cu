/* The output stage on CUDA, backward: see output_stage.h.
 *
 * With batch normalisation one launch for the parts of the sums over a channel's gradients, where
 * there are several, and one in which each block adds the parts of its channel and goes over a part
 * of it. The values before and behind the activation are worked out again from z: reading z alone
 * is faster than reading them too. With a bias, one launch for dL/dz and the parts of its sums, and
 * one that adds them, a thread a channel.
 */
#include "output_stage.h"

#include "stage_view.h"

/* dL/dy at y = line(z), from dL/d(out). */
static __device__ float through_activation(const dn_stage_view *view, dn_channel_line line, float z,
                                           float out, float grad)
{
    if (view->activation == DN_ACTIVATION_linear) return grad;
    const bool again = view->norm && !view->needs_input;
    const float x = line.factor * z + line.shift;
    const float y = again ? dn_activate(view->activation, x) : out;
    return grad * dn_activation_gradient(view->activation, x, y);
}

/* ---- Batch normalisation ---- */

/* What the values of a channel share. */
typedef struct dn_norm_channel {
    dn_channel_line line;
    float scale, mean, inverse;
} dn_norm_channel;

static __device__ dn_norm_channel channel_at(const dn_stage_view *view, int32_t channel)
{
    const float inverse = 1.0f / dn_batchnorm_deviation(view->variance[channel]);
    const dn_norm_channel made = {dn_line_of(view, channel), view->scales[channel],
                                  view->mean[channel], inverse};
    return made;
}

/* The block's sums of g = dL/dy and of g * h over a part of a channel. */
template <typename Value>
static __device__ dn_stage_sums gradients(const dn_stage_view *view, const dn_norm_channel *c,
                                          const Value *z, const Value *grad, int32_t channel,
                                          int32_t part)
{
    const int width = sizeof(Value) / sizeof(float);
    dn_stage_sums sums = {0.0, 0.0};
    dn_walk walk = dn_begin_walk(view, part);
    for (; walk.at < walk.end; dn_step_walk(view, &walk)) {
        const int64_t place = dn_walk_place(view, &walk, channel);
        const Value before = z[place], behind = grad[place];
        DN_UNROLL
        for (int k = 0; k < width; k++) {
            const float at = ((const float *)&before)[k];
            const float g =
                through_activation(view, c->line, at, 0.0f, ((const float *)&behind)[k]);
            sums.first += (double)g;
            sums.second += (double)g * (double)dn_batchnorm_unit(at, c->mean, c->inverse);
        }
    }
    sums.first = dn_block_sum(sums.first);
    sums.second = dn_block_sum(sums.second);
    return sums;
}

template <typename Value>
static __global__ void sum_gradients(dn_stage_view view, const Value *z, const Value *grad,
                                     double *parts, int64_t blocks)
{
    DN_BLOCK_STRIDE(b, blocks)
    {
        const int32_t channel = (int32_t)(b / view.parts), part = (int32_t)(b % view.parts);
        const dn_norm_channel c = channel_at(&view, channel);
        dn_put_sums(parts, b, gradients(&view, &c, z, grad, channel, part));
    }
}

/* Block b: dL/dz of one part of one channel; the first part's block adds the parameters' gradients.
 * grad_z may be grad: a block reads all that it needs of a channel before it writes, or the launch
 * before has. */
template <typename Value>
static __global__ void set_gradients(dn_stage_view view, const Value *z, const Value *grad,
                                     const double *parts, float *grad_scales, float *grad_biases,
                                     Value *grad_z, bool add, int64_t blocks)
{
    const int width = sizeof(Value) / sizeof(float);
    __shared__ dn_batchnorm_slopes slopes;
    DN_BLOCK_STRIDE(b, blocks)
    {
        const int32_t channel = (int32_t)(b / view.parts), part = (int32_t)(b % view.parts);
        const dn_norm_channel c = channel_at(&view, channel);
        const dn_stage_sums sums = view.parts == 1 ? gradients(&view, &c, z, grad, channel, part)
                                                   : dn_add_sums(&view, parts, channel);
        if (threadIdx.x == 0) {
            slopes = dn_batchnorm_slopes_of(sums.first, sums.second, view.values);
            if (part == 0 && grad_scales) grad_scales[channel] += (float)sums.second;
            if (part == 0 && grad_biases) grad_biases[channel] += (float)sums.first;
        }
        __syncthreads();
        if (!grad_z) continue;
        dn_walk walk = dn_begin_walk(&view, part);
        for (; walk.at < walk.end; dn_step_walk(&view, &walk)) {
            const int64_t place = dn_walk_place(&view, &walk, channel);
            const Value before = z[place];
            Value value = grad[place];
            DN_UNROLL
            for (int k = 0; k < width; k++) {
                const float at = ((const float *)&before)[k];
                float *to = (float *)&value + k;
                const float g = through_activation(&view, c.line, at, 0.0f, *to);
                const float h = dn_batchnorm_unit(at, c.mean, c.inverse);
                *to = dn_batchnorm_gradient(c.scale, c.inverse, g, h, slopes);
            }
            grad_z[place] = add ? grad_z[place] + value : value;
        }
    }
}

template <typename Value>
static dn_status backward_norm(dn_stage_view view, const dn_pass *pass,
                               const dn_output_stage *stage, const Value *z, const Value *grad,
                               Value *grad_z, bool add)
{
    const int64_t blocks = (int64_t)view.channels * view.parts;
    double *parts = (double *)pass->workspace;
    if (view.parts > 1) DN_LAUNCH_BLOCKS(sum_gradients, blocks, view, z, grad, parts, blocks);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH_BLOCKS(set_gradients, blocks, view, z, grad, parts, stage->scales->grad,
                     stage->biases->grad, grad_z, add, blocks);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* ---- A bias ---- */

/* grad *= f', and the parts of its sums; z is read where the activation needs it. */
template <typename Value>
static __global__ void pass_gradients(dn_stage_view view, const Value *z, const Value *out,
                                      Value *grad, double *sums, int64_t blocks)
{
    const int width = sizeof(Value) / sizeof(float);
    const bool linear = view.activation == DN_ACTIVATION_linear;
    DN_BLOCK_STRIDE(b, blocks)
    {
        const int32_t channel = (int32_t)(b / view.parts);
        const dn_channel_line line = dn_line_of(&view, channel);
        double sum = 0.0;
        dn_walk walk = dn_begin_walk(&view, (int32_t)(b % view.parts));
        for (; walk.at < walk.end; dn_step_walk(&view, &walk)) {
            const int64_t place = dn_walk_place(&view, &walk, channel);
            Value value = grad[place], before = {}, behind = {};
            if (view.needs_input) before = z[place];
            if (!linear && !view.needs_input) behind = out[place];
            DN_UNROLL
            for (int k = 0; k < width; k++) {
                float *at = (float *)&value + k;
                *at = through_activation(&view, line, ((const float *)&before)[k],
                                         ((const float *)&behind)[k], *at);
                sum += (double)*at;
            }
            if (!linear) grad[place] = value;
        }
        sum = dn_block_sum(sum);
        if (threadIdx.x == 0) sums[b] = sum;
    }
}

static __global__ void finish_biases(dn_stage_view view, const double *sums, float *grad_biases)
{
    DN_GRID_STRIDE(c, view.channels) grad_biases[c] += (float)dn_parts_sum(sums, c, view.parts, 1);
}

template <typename Value>
static dn_status backward_bias(dn_stage_view view, const dn_pass *pass,
                               const dn_output_stage *stage, const Value *z, const Value *out,
                               Value *grad)
{
    const int64_t blocks = (int64_t)view.channels * view.parts;
    double *sums = (double *)pass->workspace;
    DN_LAUNCH_BLOCKS(pass_gradients, blocks, view, z, out, grad, sums, blocks);
    DN_CUDA_TRY(cudaGetLastError());
    if (!stage->biases->grad) return DN_OK;
    DN_LAUNCH(finish_biases, view.channels, view, sums, stage->biases->grad);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* ---- Both ---- */

dn_status dn_stage_cuda_backward(const dn_layer *layer, const dn_pass *pass,
                                 const dn_output_stage *stage, const dn_stage_kept *kept,
                                 float *grad_z, bool add)
{
    const dn_stage_view view = dn_stage_view_of(layer, pass, stage, kept);
    const float *z = kept ? kept->pre : nullptr, *out = layer->out.data;
    float *grad = layer->out.grad;
    if (view.count == 0) return DN_OK;
    if (view.norm && dn_stage_takes_quads(&view, z, grad, grad_z))
        return backward_norm(dn_stage_in_quads(view), pass, stage, (const dn_quad *)z,
                             (const dn_quad *)grad, (dn_quad *)grad_z, add);
    if (view.norm) return backward_norm(view, pass, stage, z, (const float *)grad, grad_z, add);
    if (dn_stage_takes_quads(&view, z, out, grad))
        return backward_bias(dn_stage_in_quads(view), pass, stage, (const dn_quad *)z,
                             (const dn_quad *)out, (dn_quad *)grad);
    return backward_bias(view, pass, stage, z, out, grad);
}

dn_status dn_stage_cuda_begin(const dn_layer *layer, const dn_pass *pass,
                              const dn_output_stage *stage)
{
    if (!dn_stage_keeps_pre(stage))
        return dn_stage_cuda_backward(layer, pass, stage, nullptr, layer->out.grad, false);
    const dn_stage_kept kept = dn_stage_keeps(layer);
    return dn_stage_cuda_backward(layer, pass, stage, &kept, layer->out.grad, false);
}
