/* Gradient of a convolution's input. See conv_backward.h.
 *
 * Stride 1: the forward convolution of grad_out with the weights turned by 180 degrees and filters
 * and channels exchanged. Other strides: for some channels of an image at a time the product
 * weights' * grad_out, whose rows col2im adds to the channels they came from.
 */
#include "math/conv_backward.h"

#include "math/gemm.h"
#include "math/integers.h"
#include "math/threads.h"

#include <stddef.h>

enum { COLUMN_FLOATS = 1 << 18 }; /* of a task's columns: 1 MiB, or one channel's */

/* The padding with which the turned filters see grad_out. */
static int32_t turned_pad(const dn_conv_geometry *g)
{
    return (g->size - 1) * g->dilation - g->pad;
}

static bool is_turnable(const dn_conv_geometry *g)
{
    return g->stride_x == 1 && g->stride_y == 1 && turned_pad(g) >= 0;
}

static dn_conv_args turned(const dn_conv_args *args)
{
    dn_conv_args out = *args;
    const dn_conv_geometry *g = &args->geometry;
    out.geometry = (dn_conv_geometry){
        .c = args->filters,
        .h = g->out_h,
        .w = g->out_w,
        .size = g->size,
        .stride_x = 1,
        .stride_y = 1,
        .pad = turned_pad(g),
        .dilation = g->dilation,
        .out_h = g->h,
        .out_w = g->w,
    };
    out.filters = g->c;
    out.packed = out.scale = out.shift = NULL;
    out.activation = DN_ACTIVATION_linear;
    out.accumulate = true;
    return out;
}

static int64_t weights_floats(const dn_conv_args *args)
{
    return (dn_conv_packed_floats(args) + 15) / 16 * 16;
}

/* out[group][channel][filter][taps - 1 - tap] = weights[group][filter][channel][tap] */
static void turn_weights(const dn_conv_args *args, float *out)
{
    const int32_t c = args->geometry.c, filters = args->filters;
    const int32_t taps = args->geometry.size * args->geometry.size;
    const int64_t rows = (int64_t)args->groups * c;
#pragma omp parallel for num_threads(args->threads) schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
        const int64_t group = row / c, channel = row % c;
        float *to = out + row * filters * taps;
        for (int32_t f = 0; f < filters; ++f, to += taps) {
            const float *from = args->weights + ((group * filters + f) * c + channel) * taps;
            for (int32_t tap = 0; tap < taps; ++tap) to[taps - 1 - tap] = from[tap];
        }
    }
}

static int32_t task_channels(const dn_conv_args *args)
{
    const dn_conv_geometry *g = &args->geometry;
    const int64_t floats = (int64_t)g->size * g->size * g->out_h * g->out_w;
    const int64_t fit = floats < COLUMN_FLOATS ? COLUMN_FLOATS / floats : 1;
    return fit < g->c ? (int32_t)fit : g->c;
}

/* The columns' gradients of `channels` channels from `channel` on: sizes only. */
static dn_gemm_args columns_product(const dn_conv_args *args, int32_t channels)
{
    const dn_conv_geometry *g = &args->geometry;
    const int32_t taps = g->size * g->size;
    return (dn_gemm_args){
        .trans_a = true,
        .m = channels * taps,
        .n = g->out_h * g->out_w,
        .k = args->filters,
        .alpha = 1.0f,
        .lda = g->c * taps,
        .ldb = g->out_h * g->out_w,
        .ldc = g->out_h * g->out_w,
        .threads = 1,
    };
}

static int64_t column_floats(const dn_gemm_args *product)
{
    return ((int64_t)product->m * product->n + 15) / 16 * 16;
}

static int64_t thread_floats(const dn_conv_args *args)
{
    const dn_gemm_args product = columns_product(args, task_channels(args));
    return column_floats(&product) + dn_gemm_workspace(&product);
}

/* One task: some channels of one image and group, `slice` = image * groups + group. */
static void add_columns(const dn_conv_args *args, int64_t slice, int32_t channel, int32_t channels,
                        const float *grad_out, float *grad_in, float *workspace)
{
    dn_conv_geometry part = args->geometry;
    part.c = channels;
    const int64_t group = slice % args->groups;
    const int32_t c = args->geometry.c, taps = part.size * part.size;
    dn_gemm_args product = columns_product(args, channels);
    product.a = args->weights + (group * args->filters * c + channel) * taps;
    product.b = grad_out + slice * args->filters * product.n;
    product.c = workspace;
    product.workspace = workspace + column_floats(&product);
    dn_gemm(&product);
    dn_col2im(&part, workspace, grad_in + (slice * c + channel) * part.h * part.w);
}

int64_t dn_conv_backward_input_workspace(const dn_conv_args *args)
{
    if (!is_turnable(&args->geometry)) return thread_floats(args) * args->threads;
    const dn_conv_args forward = turned(args);
    return weights_floats(args) + dn_conv_workspace(&forward, false);
}

void dn_conv_backward_input(const dn_conv_args *args, const float *grad_out, float *grad_in)
{
    if (is_turnable(&args->geometry)) {
        dn_conv_args forward = turned(args);
        turn_weights(args, args->workspace);
        forward.weights = args->workspace;
        forward.workspace = args->workspace + weights_floats(args);
        forward.in = grad_out;
        forward.out = grad_in;
        dn_conv_forward(&forward);
        return;
    }
    const int32_t c = args->geometry.c, step = task_channels(args);
    const int32_t parts = dn_divide_up(c, step);
    const int64_t tasks = (int64_t)args->images * args->groups * parts;
    const int64_t floats = thread_floats(args);
#pragma omp parallel for num_threads(args->threads) schedule(dynamic)
    for (int64_t task = 0; task < tasks; ++task) {
        const int32_t channel = (int32_t)(task % parts) * step;
        add_columns(args, task / parts, channel, dn_least(step, c - channel), grad_out, grad_in,
                    args->workspace + floats * dn_thread_number());
    }
}
