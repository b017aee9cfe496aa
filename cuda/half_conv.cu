/* What the forms of a convolution in half precision share: which problems fit, packed weights,
 * launching one. See half_conv.h. */
#include "half_conv.h"

#include "half.h"
#include "math/batchnorm.h"

#include <stdio.h>

bool dn_half_is_depthwise(const dn_conv_problem *problem)
{
    return problem->groups > 1 && problem->geometry.c == 1 && problem->filters == 1;
}

bool dn_half_conv_fits(const dn_conv_problem *problem)
{
    const dn_conv_geometry *g = &problem->geometry;
    const int64_t pixels = (int64_t)problem->images * g->out_h * g->out_w;
    const int64_t taps = (int64_t)g->size * g->size;
    if (pixels > INT32_MAX || (int64_t)g->h * g->w > INT32_MAX || taps * (g->c + 7) > INT32_MAX)
        return false;
    if (dn_half_is_depthwise(problem)) return !problem->planar_in && !problem->planar_out;
    if (problem->planar_in) return problem->groups == 1; /* pixels of the network's input */
    return problem->groups == 1 || (g->c % 8 == 0 && problem->filters % 8 == 0);
}

static int32_t rounded(int32_t channels)
{
    return (channels + 7) / 8 * 8;
}

int32_t dn_half_conv_k(const dn_conv_problem *problem)
{
    const int32_t c = problem->geometry.c, taps = problem->geometry.size * problem->geometry.size;
    if (dn_half_is_depthwise(problem)) return taps;
    return problem->planar_in ? rounded(taps * c) : taps * rounded(c);
}

int64_t dn_half_conv_values(const dn_half_conv *conv)
{
    return (int64_t)conv->k * (conv->depthwise ? conv->c : conv->groups * conv->filters);
}

static dn_half_tiles tiles_of(const dn_half_conv *conv)
{
    if (conv->depthwise) return dn_half_depthwise_of(conv);
    if (dn_half_first_fits(conv) && conv->head.entries == 0)
        return conv->bf16 ? dn_half_first_bf16 : dn_half_first_fp16;
    if (conv->pixels_in) return conv->bf16 ? dn_half_pixels_bf16 : dn_half_pixels_fp16;
    return conv->bf16 ? dn_half_tiles_bf16 : dn_half_tiles_fp16;
}

const dn_half_tile *dn_half_tile_of(const dn_half_conv *conv, int32_t tile)
{
    const dn_half_tiles tiles = tiles_of(conv);
    const dn_half_tiles hopper = conv->bf16 ? dn_half_hopper_bf16 : dn_half_hopper_fp16;
    if (tile < tiles.count) return &tiles.tiles[tile];
    tile -= tiles.count;
    if (conv->depthwise || conv->pixels_in || tile >= hopper.count) return NULL;
    return &hopper.tiles[tile];
}

dn_status dn_half_run(const dn_half_conv *conv, dn_half_form form,
                      const dn_half_workspace *workspace)
{
    if (conv->images == 0) return DN_OK;
    if (form.tile == DN_HALF_CUDNN) return dn_half_cudnn_run(conv, workspace);
    return dn_half_tile_of(conv, form.tile)->run(conv, form, workspace);
}

void dn_half_form_name(const dn_half_conv *conv, dn_half_form form, char *text, size_t size)
{
    if (form.tile == DN_HALF_CUDNN) {
        snprintf(text, size, "cudnn");
        return;
    }
    char shares[24] = "", parts[16] = "";
    if (form.across * form.down > 1)
        snprintf(shares, sizeof shares, " [%d,%d]", form.across, form.down);
    if (form.splits > 1) snprintf(parts, sizeof parts, " / %d", form.splits);
    snprintf(text, size, "%s%s%s", dn_half_tile_of(conv, form.tile)->name, shares, parts);
}

/* ---- Weights ---- */

/* y = factor * x + shift of a filter, which of an enlargement belongs to a channel. */
typedef struct dn_fold {
    const float *biases, *scales, *mean, *variance;
} dn_fold;

static __device__ inline float factor_of(const dn_fold *fold, int32_t channel)
{
    return fold->scales ? dn_batchnorm_factor(fold->scales[channel], fold->variance[channel])
                        : 1.0f;
}

/* How the layer's weights lie: (filters, c, taps), or of an enlargement (c, channels, taps). */
typedef struct dn_weight_order {
    int32_t channels;    /* that are stored: conv.c without the surplus */
    int32_t first;       /* that the packed order begins with */
    int32_t c, taps;     /* c: of the packed order */
    int32_t enlargement; /* squared; 1: none */
    int32_t filters, k;  /* of all groups */
} dn_weight_order;

template <class T>
static __global__ void pack(dn_weight_order o, const float *weights, dn_fold fold, T *packed,
                            int64_t count)
{
    const int32_t outputs = o.filters / o.enlargement;
    DN_GRID_STRIDE(i, count) {
        const int32_t filter = (int32_t)(i / o.k), at = (int32_t)(i - (int64_t)filter * o.k);
        const int32_t tap = at / o.c, c = at - tap * o.c;
        const int32_t part = filter / outputs, channel = filter - part * outputs;
        float value = 0.0f;
        if (c < o.channels && tap < o.taps) {
            const int32_t of = c + o.first < o.channels ? c + o.first : c + o.first - o.channels;
            const int64_t from = o.enlargement == 1
                                     ? ((int64_t)filter * o.channels + of) * o.taps + tap
                                     : ((int64_t)c * outputs + channel) * o.enlargement + part;
            value = weights[from] * factor_of(&fold, channel);
        }
        packed[i] = dn_narrow<T>(value);
    }
}

/* packed (taps, c), from (filters, taps) */
template <class T>
static __global__ void pack_depthwise(dn_weight_order o, const float *weights, dn_fold fold,
                                      T *packed, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const int32_t tap = (int32_t)(i / o.c), c = (int32_t)(i - (int64_t)tap * o.c);
        float value = 0.0f;
        if (c < o.filters) value = weights[(int64_t)c * o.taps + tap] * factor_of(&fold, c);
        packed[i] = dn_narrow<T>(value);
    }
}

template <class T>
static dn_status pack_as(const dn_half_conv *conv, const dn_weight_order *order,
                         const float *weights, const dn_fold *fold)
{
    const int64_t count = dn_half_conv_values(conv);
    T *packed = (T *)const_cast<void *>(conv->weights);
    if (conv->depthwise)
        DN_LAUNCH(pack_depthwise<T>, count, *order, weights, *fold, packed, count);
    else
        DN_LAUNCH(pack<T>, count, *order, weights, *fold, packed, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static __global__ void make_shifts(dn_fold fold, int32_t filters, int32_t channels, float *shift,
                                   int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const int32_t channel = (int32_t)i % channels;
        float value = 0.0f;
        if (i < filters) {
            value = fold.biases[channel];
            if (fold.scales)
                value = dn_batchnorm_shift(value, factor_of(&fold, channel), fold.mean[channel]);
        }
        shift[i] = value;
    }
}

dn_status dn_half_conv_pack(const dn_half_conv *conv, const dn_half_source *source)
{
    const dn_fold fold = {source->biases, source->scales, source->mean, source->variance};
    dn_weight_order o = {};
    o.channels = source->channels;
    o.first = source->first;
    o.c = conv->pixels_in ? source->channels : conv->c;
    o.taps = conv->size * conv->size;
    o.enlargement = conv->enlargement * conv->enlargement;
    o.filters = conv->groups * conv->filters;
    o.k = conv->k;
    const int64_t shifts = (int64_t)o.filters + 7;
    DN_TRY(conv->bf16 ? pack_as<__nv_bfloat16>(conv, &o, source->weights, &fold)
                      : pack_as<__half>(conv, &o, source->weights, &fold));
    DN_LAUNCH(make_shifts, shifts, fold, o.filters, o.filters / o.enlargement,
              const_cast<float *>(conv->shift), shifts);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}
