/* What the kernels of the output stage share: a view of the layer, and a walk over a channel.
 *
 * Kernels come for floats and for quads (quad.h): where maps are whole quads, a thread takes four
 * values at once, and `spatial` and `count` are numbers of quads.
 */
#ifndef DN_CUDA_STAGE_VIEW_H
#define DN_CUDA_STAGE_VIEW_H

#include "layers/output_stage.h"
#include "math/batchnorm.h"
#include "place.h"
#include "quad.h"
#include "sum.h"

typedef struct dn_stage_view {
    dn_activation activation;
    bool norm;        /* else a bias alone */
    bool needs_input; /* of the activation, for its gradient */
    int32_t channels, parts;
    int64_t spatial, count; /* floats or quads of a map, of a channel */
    int64_t values;         /* floats of a channel */
    const float *scales, *biases, *mean, *variance;
} dn_stage_view;

static inline dn_stage_view dn_stage_view_of(const dn_layer *layer, const dn_pass *pass,
                                             const dn_output_stage *stage,
                                             const dn_stage_kept *kept)
{
    dn_stage_view view = {};
    view.activation = stage->activation;
    view.norm = stage->batch_normalize;
    view.needs_input = dn_activation_needs_input(stage->activation);
    view.channels = layer->out.c;
    view.spatial = (int64_t)layer->out.h * layer->out.w;
    view.values = view.count = dn_live(layer, pass) * view.spatial;
    view.parts = dn_sum_parts(view.channels, view.values);
    view.biases = stage->biases->data;
    if (!view.norm) return view;
    view.scales = stage->scales->data;
    view.mean = kept ? kept->mean : stage->mean->data;
    view.variance = kept ? kept->variance : stage->variance->data;
    return view;
}

/* The same where maps are whole quads and all three arrays begin at one (NULL: there is none). */
static inline bool dn_stage_takes_quads(const dn_stage_view *view, const float *a, const float *b,
                                        const float *c)
{
    return view->spatial % 4 == 0 && dn_is_quad_place(a) && dn_is_quad_place(b) &&
           dn_is_quad_place(c);
}

static inline dn_stage_view dn_stage_in_quads(dn_stage_view view)
{
    view.spatial /= 4;
    view.count /= 4;
    return view;
}

/* Values of one channel: y = factor * z + shift. */
typedef struct dn_channel_line {
    float factor, shift;
} dn_channel_line;

static __device__ inline dn_channel_line dn_line_with(const dn_stage_view *view, int32_t channel,
                                                      float mean, float variance)
{
    dn_channel_line line;
    line.factor = dn_batchnorm_factor(view->scales[channel], variance);
    line.shift = dn_batchnorm_shift(view->biases[channel], line.factor, mean);
    return line;
}

static __device__ inline dn_channel_line dn_line_of(const dn_stage_view *view, int32_t channel)
{
    const dn_channel_line bias = {1.0f, view->biases[channel]};
    if (!view->norm) return bias;
    return dn_line_with(view, channel, view->mean[channel], view->variance[channel]);
}

static __device__ inline int32_t dn_channel_of(const dn_stage_view *view, int64_t i)
{
    return dn_place_of(i, (int32_t)view->spatial, view->channels).y;
}

/* Two sums over a channel, or over a part of it. Only thread 0 of a block has them. */
typedef struct dn_stage_sums {
    double first, second;
} dn_stage_sums;

/* The parts of a channel's sums lie side by side: block b's two at 2 b. */
static __device__ inline void dn_put_sums(double *parts, int64_t b, dn_stage_sums sums)
{
    if (threadIdx.x > 0) return;
    parts[2 * b] = sums.first;
    parts[2 * b + 1] = sums.second;
}

static __device__ inline dn_stage_sums dn_add_sums(const dn_stage_view *view, const double *parts,
                                                   int32_t channel)
{
    dn_stage_sums sums;
    sums.first = dn_block_parts_sum(parts, channel, view->parts, 2);
    sums.second = dn_block_parts_sum(parts + 1, channel, view->parts, 2);
    return sums;
}

/* A thread's way over a part of a channel: for (walk = begin; walk.at < walk.end; step). */
typedef struct dn_walk {
    int64_t at, end;      /* among the channel's floats or quads; the end of the part */
    int64_t image, pixel; /* where that is */
} dn_walk;

static __device__ inline dn_walk dn_begin_walk(const dn_stage_view *view, int32_t part)
{
    dn_walk walk;
    walk.at = dn_part_begin(view->count, view->parts, part) + threadIdx.x;
    walk.end = dn_part_begin(view->count, view->parts, part + 1);
    walk.image = walk.at / view->spatial;
    walk.pixel = walk.at - walk.image * view->spatial;
    return walk;
}

static __device__ inline void dn_step_walk(const dn_stage_view *view, dn_walk *walk)
{
    walk->at += blockDim.x;
    walk->pixel += blockDim.x;
    if (walk->pixel < view->spatial) return;
    const uint32_t images = (uint32_t)walk->pixel / (uint32_t)view->spatial;
    walk->image += images;
    walk->pixel -= images * view->spatial;
}

static __device__ inline int64_t dn_walk_place(const dn_stage_view *view, const dn_walk *walk,
                                               int32_t channel)
{
    return (walk->image * view->channels + channel) * view->spatial + walk->pixel;
}

#endif
