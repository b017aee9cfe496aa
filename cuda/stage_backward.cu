/* The output stage on CUDA, backward: see output_stage.h.
 *
 * The parts of the sums over a channel's gradients, then a thread a channel and, with batch
 * normalisation, a last launch for dL/dz. With batch normalisation the values before and behind the
 * activation are worked out again from z: reading z alone is faster than reading them too.
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

template <typename Value>
static __global__ void sum_gradients(dn_stage_view view, const Value *z, const Value *grad,
                                     double *sums, int64_t blocks)
{
    const int width = sizeof(Value) / sizeof(float);
    DN_BLOCK_STRIDE(b, blocks)
    {
        const int32_t channel = (int32_t)(b / view.parts);
        const dn_channel_line line = dn_line_of(&view, channel);
        const float mean = view.mean[channel];
        const float inverse = 1.0f / dn_batchnorm_deviation(view.variance[channel]);
        double sum = 0.0, dot = 0.0;
        dn_walk walk = dn_begin_walk(&view, (int32_t)(b % view.parts));
        for (; walk.at < walk.end; dn_step_walk(&view, &walk)) {
            const int64_t at = dn_walk_place(&view, &walk, channel);
            const Value before = z[at], behind = grad[at];
            for (int k = 0; k < width; k++) {
                const float zk = ((const float *)&before)[k];
                const float g =
                    through_activation(&view, line, zk, 0.0f, ((const float *)&behind)[k]);
                sum += (double)g;
                dot += (double)g * (double)dn_batchnorm_unit(zk, mean, inverse);
            }
        }
        sum = dn_block_sum(sum);
        dot = dn_block_sum(dot);
        if (threadIdx.x > 0) continue;
        sums[2 * b] = sum;
        sums[2 * b + 1] = dot;
    }
}

static __global__ void finish_gradients(dn_stage_view view, const double *sums, float *grad_scales,
                                        float *grad_biases, dn_batchnorm_slopes *slopes)
{
    DN_GRID_STRIDE(c, view.channels) {
        const double sum = dn_parts_sum(sums, c, view.parts, 2);
        const double dot = dn_parts_sum(sums + 1, c, view.parts, 2);
        if (grad_scales) grad_scales[c] += (float)dot;
        if (grad_biases) grad_biases[c] += (float)sum;
        slopes[c] = dn_batchnorm_slopes_of(sum, dot, view.values);
    }
}

template <typename Value>
static __global__ void set_gradients(dn_stage_view view, const dn_batchnorm_slopes *slopes,
                                     const Value *z, const Value *grad, Value *grad_z, bool add,
                                     int64_t count)
{
    const int width = sizeof(Value) / sizeof(float);
    DN_GRID_STRIDE(i, count) {
        const int32_t c = dn_channel_of(&view, i);
        const dn_channel_line line = dn_line_of(&view, c);
        const float inverse = 1.0f / dn_batchnorm_deviation(view.variance[c]);
        const Value before = z[i];
        Value value = grad[i];
        for (int k = 0; k < width; k++) {
            const float zk = ((const float *)&before)[k];
            float *at = (float *)&value + k;
            const float g = through_activation(&view, line, zk, 0.0f, *at);
            *at = dn_batchnorm_gradient(view.scales[c], inverse, g,
                                        dn_batchnorm_unit(zk, view.mean[c], inverse), slopes[c]);
        }
        grad_z[i] = add ? grad_z[i] + value : value;
    }
}

template <typename Value>
static dn_status backward_norm(dn_stage_view view, const dn_pass *pass,
                               const dn_output_stage *stage, const Value *z, const Value *grad,
                               Value *grad_z, bool add)
{
    const int64_t blocks = (int64_t)view.channels * view.parts, count = view.count * view.channels;
    double *sums = (double *)pass->workspace;
    dn_batchnorm_slopes *slopes = (dn_batchnorm_slopes *)(sums + 2 * blocks);
    DN_LAUNCH_BLOCKS(sum_gradients, blocks, view, z, grad, sums, blocks);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(finish_gradients, view.channels, view, sums, stage->scales->grad, stage->biases->grad,
              slopes);
    DN_CUDA_TRY(cudaGetLastError());
    if (!grad_z) return DN_OK;
    DN_LAUNCH(set_gradients, count, view, slopes, z, grad, grad_z, add, count);
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
