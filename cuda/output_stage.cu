/* Batch normalisation or bias, and activation, on CUDA: see output_stage.h.
 *
 * Forward: in training two launches for the batch's statistics (parts of sums, then a thread a
 * channel), one for the rest; in inference that one alone. Backward: the parts of the sums over a
 * channel's gradients, a thread a channel, and with batch normalisation a last launch. It works out
 * again from z what it needs of the values before and behind the activation: reading z alone is
 * faster than reading them too.
 * Statistics are sums of differences from the channel's first value, in double: one reading of z is
 * enough, and nothing is lost where the mean is large.
 */
#include "output_stage.h"

#include "launch.h"
#include "math/batchnorm.h"
#include "quad.h"
#include "sum.h"

/* What the kernels read of a layer. */
typedef struct dn_stage_view {
    dn_activation activation;
    bool norm;        /* else a bias alone */
    bool needs_input; /* of the activation, for its gradient */
    int32_t images, channels, parts;
    int64_t spatial, count; /* of a map; values of a channel */
    const float *scales, *biases, *mean, *variance;
} dn_stage_view;

/* Values of one channel: y = factor * z + shift. */
typedef struct dn_channel_line {
    float factor, shift;
} dn_channel_line;

static __device__ dn_channel_line line_of(const dn_stage_view *view, int32_t channel)
{
    dn_channel_line line = {1.0f, view->biases[channel]};
    if (!view->norm) return line;
    line.factor = dn_batchnorm_factor(view->scales[channel], view->variance[channel]);
    line.shift = dn_batchnorm_shift(line.shift, line.factor, view->mean[channel]);
    return line;
}

/* The channel of the map that value i lies in. Most tensors have fewer than 2^32 values, and a
 * division of 64 bits takes several times as long. */
static __device__ int32_t channel_of(int64_t i, int64_t spatial, int32_t channels)
{
    if (i <= UINT32_MAX) return (int32_t)((uint32_t)i / (uint32_t)spatial % (uint32_t)channels);
    return (int32_t)(i / spatial % channels);
}

/* ---- Walking over a part of a channel's values ---- */

typedef struct dn_walk {
    int64_t at, end;      /* the thread's value among the channel's, and the end of the part */
    int64_t image, pixel; /* its place */
} dn_walk;

static __device__ dn_walk begin_walk(const dn_stage_view *view, int32_t part)
{
    dn_walk walk;
    walk.at = dn_part_begin(view->count, view->parts, part) + threadIdx.x;
    walk.end = dn_part_begin(view->count, view->parts, part + 1);
    walk.image = walk.at / view->spatial;
    walk.pixel = walk.at - walk.image * view->spatial;
    return walk;
}

static __device__ void step_walk(const dn_stage_view *view, dn_walk *walk)
{
    walk->at += blockDim.x;
    walk->pixel += blockDim.x;
    if (walk->pixel < view->spatial) return;
    const uint32_t images = (uint32_t)walk->pixel / (uint32_t)view->spatial;
    walk->image += images;
    walk->pixel -= images * view->spatial;
}

static __device__ int64_t place_of(const dn_stage_view *view, const dn_walk *walk, int32_t channel)
{
    return (walk->image * view->channels + channel) * view->spatial + walk->pixel;
}

/* ---- Forward ---- */

static __global__ void sum_differences(dn_stage_view view, const float *z, double *sums,
                                       int64_t blocks)
{
    DN_BLOCK_STRIDE(b, blocks)
    {
        const int32_t channel = (int32_t)(b / view.parts);
        const double first = (double)z[channel * view.spatial];
        double sum = 0.0, squares = 0.0;
        dn_walk walk = begin_walk(&view, (int32_t)(b % view.parts));
        for (; walk.at < walk.end; step_walk(&view, &walk)) {
            const double difference = (double)z[place_of(&view, &walk, channel)] - first;
            sum += difference;
            squares += difference * difference;
        }
        sum = dn_block_sum(sum);
        squares = dn_block_sum(squares);
        if (threadIdx.x > 0) continue;
        sums[2 * b] = sum;
        sums[2 * b + 1] = squares;
    }
}

static __global__ void finish_statistics(dn_stage_view view, const float *z, const double *sums,
                                         dn_stage_kept kept, float *rolling_mean,
                                         float *rolling_variance)
{
    DN_GRID_STRIDE(c, view.channels) {
        const double sum = dn_parts_sum(sums, c, view.parts, 2);
        const double squares = dn_parts_sum(sums + 1, c, view.parts, 2);
        const double shift = sum / (double)view.count;
        const float mean = (float)((double)z[c * view.spatial] + shift);
        const float variance = dn_batchnorm_variance(fmax(squares - shift * sum, 0.0), view.count);
        kept.mean[c] = mean;
        kept.variance[c] = variance;
        rolling_mean[c] = dn_batchnorm_roll(rolling_mean[c], mean);
        rolling_variance[c] = dn_batchnorm_roll(rolling_variance[c], variance);
    }
}

static __device__ float finished(const dn_stage_view *view, dn_channel_line line, float z)
{
    return dn_activate(view->activation, line.factor * z + line.shift);
}

static __global__ void finish(dn_stage_view view, const float *z, float *out, int64_t count)
{
    DN_GRID_STRIDE(i, count)
        out[i] = finished(&view, line_of(&view, channel_of(i, view.spatial, view.channels)), z[i]);
}

/* The same for maps of whole quads; `count` and `quads` (of a map) count those. */
static __global__ void finish_quads(dn_stage_view view, const dn_quad *z, dn_quad *out,
                                    int64_t quads, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const dn_channel_line line = line_of(&view, channel_of(i, quads, view.channels));
        const dn_quad from = z[i];
        const dn_quad to = {finished(&view, line, from.x), finished(&view, line, from.y),
                            finished(&view, line, from.z), finished(&view, line, from.w)};
        out[i] = to;
    }
}

static dn_stage_view view_of(const dn_layer *layer, const dn_pass *pass,
                             const dn_output_stage *stage, const dn_stage_kept *kept)
{
    dn_stage_view view = {};
    view.activation = stage->activation;
    view.norm = stage->batch_normalize;
    view.needs_input = dn_activation_needs_input(stage->activation);
    view.images = dn_live(layer, pass);
    view.channels = layer->out.c;
    view.spatial = (int64_t)layer->out.h * layer->out.w;
    view.count = view.images * view.spatial;
    view.parts = dn_sum_parts(view.channels, view.count);
    view.biases = stage->biases->data;
    if (!view.norm) return view;
    view.scales = stage->scales->data;
    view.mean = kept ? kept->mean : stage->mean->data;
    view.variance = kept ? kept->variance : stage->variance->data;
    return view;
}

/* For each channel, the parts of two sums, then two floats. */
int64_t dn_stage_cuda_workspace(const dn_layer *layer)
{
    const int64_t spatial = (int64_t)layer->out.h * layer->out.w;
    const int32_t parts = dn_sum_parts(layer->out.c, layer->out.n * spatial);
    return layer->trains ? layer->out.c * (4 * (int64_t)parts + 2) : 0;
}

static dn_status statistics(const dn_pass *pass, const dn_output_stage *stage,
                            const dn_stage_view *view, const float *z, const dn_stage_kept *kept)
{
    double *sums = (double *)pass->workspace;
    const int64_t blocks = (int64_t)view->channels * view->parts;
    DN_LAUNCH_BLOCKS(sum_differences, blocks, *view, z, sums, blocks);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(finish_statistics, view->channels, *view, z, sums, *kept, stage->mean->data,
              stage->variance->data);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_stage_cuda_forward(const dn_layer *layer, const dn_pass *pass,
                                const dn_output_stage *stage, const float *z,
                                const dn_stage_kept *kept)
{
    const dn_stage_view view = view_of(layer, pass, stage, kept);
    const int64_t count = view.count * view.channels;
    float *out = layer->out.data;
    if (count == 0) return DN_OK;
    if (kept && view.norm) DN_TRY(statistics(pass, stage, &view, z, kept));
    if (view.spatial % 4 == 0 && dn_is_quad_place(z) && dn_is_quad_place(out))
        DN_LAUNCH(finish_quads, count / 4, view, (const dn_quad *)z, (dn_quad *)out,
                  view.spatial / 4, count / 4);
    else
        DN_LAUNCH(finish, count, view, z, out, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* ---- Backward ---- */

/* dL/dy of the line's value at y = f(line), from dL/dy of the output. */
static __device__ float through_activation(const dn_stage_view *view, dn_channel_line line, float z,
                                           float out, float grad)
{
    if (view->activation == DN_ACTIVATION_linear) return grad;
    const float x = line.factor * z + line.shift;
    const bool again = view->norm && !view->needs_input;
    const float y = again ? dn_activate(view->activation, x) : out;
    return grad * dn_activation_gradient(view->activation, x, y);
}

static __global__ void sum_gradients(dn_stage_view view, const float *z, const float *grad,
                                     double *sums, int64_t blocks)
{
    DN_BLOCK_STRIDE(b, blocks)
    {
        const int32_t channel = (int32_t)(b / view.parts);
        const dn_channel_line line = line_of(&view, channel);
        const float mean = view.mean[channel];
        const float inverse = 1.0f / dn_batchnorm_deviation(view.variance[channel]);
        double sum = 0.0, dot = 0.0;
        dn_walk walk = begin_walk(&view, (int32_t)(b % view.parts));
        for (; walk.at < walk.end; step_walk(&view, &walk)) {
            const int64_t at = place_of(&view, &walk, channel);
            const float g = through_activation(&view, line, z[at], 0.0f, grad[at]);
            sum += (double)g;
            dot += (double)g * (double)dn_batchnorm_unit(z[at], mean, inverse);
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
        slopes[c] = dn_batchnorm_slopes_of(sum, dot, view.count);
    }
}

/* What a channel's values share in the last launch. */
typedef struct dn_channel_gradient {
    dn_channel_line line;
    float scale, mean, inverse;
    dn_batchnorm_slopes slopes;
} dn_channel_gradient;

static __device__ dn_channel_gradient gradient_of(const dn_stage_view *view,
                                                  const dn_batchnorm_slopes *slopes,
                                                  int32_t channel)
{
    const float inverse = 1.0f / dn_batchnorm_deviation(view->variance[channel]);
    const dn_channel_gradient made = {line_of(view, channel), view->scales[channel],
                                      view->mean[channel], inverse, slopes[channel]};
    return made;
}

static __device__ float gradient_at(const dn_stage_view *view, const dn_channel_gradient *c,
                                    float z, float grad)
{
    const float g = through_activation(view, c->line, z, 0.0f, grad);
    const float h = dn_batchnorm_unit(z, c->mean, c->inverse);
    return dn_batchnorm_gradient(c->scale, c->inverse, g, h, c->slopes);
}

static __global__ void set_gradients(dn_stage_view view, const dn_batchnorm_slopes *slopes,
                                     const float *z, const float *grad, float *grad_z, bool add,
                                     int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const int32_t channel = channel_of(i, view.spatial, view.channels);
        const dn_channel_gradient c = gradient_of(&view, slopes, channel);
        const float g = gradient_at(&view, &c, z[i], grad[i]);
        grad_z[i] = add ? grad_z[i] + g : g;
    }
}

static __global__ void set_gradient_quads(dn_stage_view view, const dn_batchnorm_slopes *slopes,
                                          const dn_quad *z, const dn_quad *grad, dn_quad *grad_z,
                                          bool add, int64_t quads, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const int32_t channel = channel_of(i, quads, view.channels);
        const dn_channel_gradient c = gradient_of(&view, slopes, channel);
        const dn_quad at = z[i], from = grad[i];
        const dn_quad g = {
            gradient_at(&view, &c, at.x, from.x), gradient_at(&view, &c, at.y, from.y),
            gradient_at(&view, &c, at.z, from.z), gradient_at(&view, &c, at.w, from.w)};
        grad_z[i] = add ? grad_z[i] + g : g;
    }
}

static dn_status backward_norm(const dn_pass *pass, const dn_output_stage *stage,
                               const dn_stage_view *view, const float *z, const float *grad,
                               float *grad_z, bool add)
{
    const int64_t blocks = (int64_t)view->channels * view->parts;
    const int64_t count = view->count * view->channels;
    double *sums = (double *)pass->workspace;
    dn_batchnorm_slopes *slopes = (dn_batchnorm_slopes *)(sums + 2 * blocks);
    DN_LAUNCH_BLOCKS(sum_gradients, blocks, *view, z, grad, sums, blocks);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(finish_gradients, view->channels, *view, sums, stage->scales->grad,
              stage->biases->grad, slopes);
    DN_CUDA_TRY(cudaGetLastError());
    if (!grad_z) return DN_OK;
    if (view->spatial % 4 == 0 && dn_is_quad_place(z) && dn_is_quad_place(grad) &&
        dn_is_quad_place(grad_z))
        DN_LAUNCH(set_gradient_quads, count / 4, *view, slopes, (const dn_quad *)z,
                  (const dn_quad *)grad, (dn_quad *)grad_z, add, view->spatial / 4, count / 4);
    else
        DN_LAUNCH(set_gradients, count, *view, slopes, z, grad, grad_z, add, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* grad *= f', and the parts of its sums; z only where the activation needs it. */
static __global__ void pass_gradients(dn_stage_view view, const float *z, const float *out,
                                      float *grad, double *sums, int64_t blocks)
{
    DN_BLOCK_STRIDE(b, blocks)
    {
        const int32_t channel = (int32_t)(b / view.parts);
        const dn_channel_line line = line_of(&view, channel);
        const bool linear = view.activation == DN_ACTIVATION_linear;
        double sum = 0.0;
        dn_walk walk = begin_walk(&view, (int32_t)(b % view.parts));
        for (; walk.at < walk.end; step_walk(&view, &walk)) {
            const int64_t at = place_of(&view, &walk, channel);
            float g = grad[at];
            if (!linear) {
                const float before = view.needs_input ? z[at] : 0.0f;
                g = through_activation(&view, line, before, out[at], g);
                grad[at] = g;
            }
            sum += (double)g;
        }
        sum = dn_block_sum(sum);
        if (threadIdx.x == 0) sums[b] = sum;
    }
}

static __global__ void finish_biases(dn_stage_view view, const double *sums, float *grad_biases)
{
    DN_GRID_STRIDE(c, view.channels) grad_biases[c] += (float)dn_parts_sum(sums, c, view.parts, 1);
}

static dn_status backward_bias(const dn_layer *layer, const dn_pass *pass,
                               const dn_output_stage *stage, const dn_stage_view *view,
                               const float *z)
{
    const int64_t blocks = (int64_t)view->channels * view->parts;
    double *sums = (double *)pass->workspace;
    DN_LAUNCH_BLOCKS(pass_gradients, blocks, *view, z, layer->out.data, layer->out.grad, sums,
                     blocks);
    DN_CUDA_TRY(cudaGetLastError());
    if (!stage->biases->grad) return DN_OK;
    DN_LAUNCH(finish_biases, view->channels, *view, sums, stage->biases->grad);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_stage_cuda_backward(const dn_layer *layer, const dn_pass *pass,
                                 const dn_output_stage *stage, const dn_stage_kept *kept,
                                 float *grad_z, bool add)
{
    const dn_stage_view view = view_of(layer, pass, stage, kept);
    if (view.count == 0) return DN_OK;
    if (view.norm)
        return backward_norm(pass, stage, &view, kept->pre, layer->out.grad, grad_z, add);
    return backward_bias(layer, pass, stage, &view, kept ? kept->pre : nullptr);
}

/* ---- In place ---- */

dn_status dn_stage_cuda_finish(const dn_layer *layer, const dn_pass *pass,
                               const dn_output_stage *stage)
{
    if (!pass->training || !dn_stage_keeps_pre(stage))
        return dn_stage_cuda_forward(layer, pass, stage, layer->out.data, nullptr);
    const dn_stage_kept kept = dn_stage_keeps(layer);
    return dn_stage_cuda_forward(layer, pass, stage, kept.pre, &kept);
}

dn_status dn_stage_cuda_begin(const dn_layer *layer, const dn_pass *pass,
                              const dn_output_stage *stage)
{
    if (!dn_stage_keeps_pre(stage))
        return dn_stage_cuda_backward(layer, pass, stage, nullptr, layer->out.grad, false);
    const dn_stage_kept kept = dn_stage_keeps(layer);
    return dn_stage_cuda_backward(layer, pass, stage, &kept, layer->out.grad, false);
}
