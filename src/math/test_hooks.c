/* The kernels behind plain functions, for tests and benchmarks: allocate, run, time, free. */
#include "core/memory.h"
#include "math/clock.h"
#include "math/conv_backward.h"
#include "math/gemm.h"

#include <string.h>

double dn_test_gemm(const dn_test_gemm_args *args, const float *a, const float *b, float *c)
{
    dn_gemm_args gemm = {
        .trans_a = args->trans_a,
        .trans_b = args->trans_b,
        .m = args->m,
        .n = args->n,
        .k = args->k,
        .alpha = args->alpha,
        .a = a,
        .lda = args->lda,
        .b = b,
        .ldb = args->ldb,
        .beta = args->beta,
        .c = c,
        .ldc = args->ldc,
        .threads = args->threads,
    };
    gemm.workspace = dn_alloc((size_t)dn_gemm_workspace(&gemm) * sizeof(float));
    if (gemm.workspace == NULL) return -1.0;
    const double start = dn_now();
    dn_gemm(&gemm);
    const double seconds = dn_now() - start;
    dn_free(gemm.workspace);
    return seconds;
}

static dn_activation activation_named(const char *name)
{
    int index = 0;
    while (strcmp(dn_activation_names[index], name) != 0) ++index;
    return (dn_activation)index;
}

static dn_conv_args sizes(const dn_test_conv_args *args)
{
    return (dn_conv_args){
        .geometry = {args->c, args->h, args->w, args->size, args->stride_x, args->stride_y,
                     args->pad, args->dilation, args->out_h, args->out_w},
        .images = args->images,
        .groups = args->groups,
        .filters = args->filters,
        .threads = args->threads,
    };
}

double dn_test_conv(const dn_test_conv_args *args, const float *in, const float *weights,
                    const float *scale, const float *shift, float *out)
{
    dn_conv_args conv = sizes(args);
    conv.in = in;
    conv.weights = weights;
    conv.out = out;
    conv.scale = scale;
    conv.shift = shift;
    conv.activation = activation_named(args->activation);
    float *packed = dn_alloc((size_t)dn_conv_packed_floats(&conv) * sizeof(float));
    if (packed == NULL) return -1.0;
    if (args->packed) {
        dn_conv_pack_weights(&conv, packed);
        conv.packed = packed;
    }
    conv.workspace = dn_alloc((size_t)dn_conv_workspace(&conv, args->packed) * sizeof(float));
    const double start = dn_now();
    if (conv.workspace != NULL) dn_conv_forward(&conv);
    const double seconds = conv.workspace != NULL ? dn_now() - start : -1.0;
    dn_free(conv.workspace);
    dn_free(packed);
    return seconds;
}

double dn_test_conv_backward(const dn_test_conv_args *args, const float *in, const float *weights,
                             const float *grad_out, float *grad_weights, float *grad_in)
{
    dn_conv_args conv = sizes(args);
    conv.in = in;
    conv.weights = weights;
    const int64_t floats =
        dn_conv_backward_weights_workspace(&conv) + dn_conv_backward_input_workspace(&conv);
    conv.workspace = dn_alloc((size_t)floats * sizeof(float));
    if (conv.workspace == NULL) return -1.0;
    const double start = dn_now();
    if (grad_weights != NULL) dn_conv_backward_weights(&conv, grad_out, grad_weights);
    if (grad_in != NULL) dn_conv_backward_input(&conv, grad_out, grad_in);
    const double seconds = dn_now() - start;
    dn_free(conv.workspace);
    return seconds;
}

void dn_test_activation(const char *activation, const float *x, float *y, float *gradient,
                        int64_t count)
{
    const dn_activation kind = activation_named(activation);
    dn_activate_array(kind, x, y, count);
    for (int64_t i = 0; i < count; ++i) gradient[i] = 1.0f;
    dn_activation_gradient_array(kind, x, y, gradient, count);
}
