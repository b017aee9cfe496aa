/* Convolutions as products of the weights and column matrices: see conv.h.
 *
 * Every group is a product of its own. A slice is some whole images, or some output rows of one
 * where its columns are too many: its columns lie in the workspace, at most DN_CONV_SLICE_FLOATS of
 * them (or one output row's). A pointwise convolution (1 x 1, stride 1, no padding) reads the
 * images themselves. Forward and the input's gradient are one product an image, as one batch a
 * slice; where maps are small, a product of a slice whose images lie side by side wastes less of
 * the GPU. The weights' gradient is that always: a sum over all pixels of a slice. Slices follow
 * each other in one order. Depthwise convolutions: conv_depthwise.h.
 */
#include "conv.h"

#include "columns.h"
#include "conv_depthwise.h"
#include "conv_slices.h"
#include "gemm.h"
#include "math/conv_window.h"

#include <new>

/* 128 MiB of columns. */
#ifndef DN_CONV_SLICE_FLOATS
#define DN_CONV_SLICE_FLOATS (1 << 25)
#endif

/* Pixels of a slice of the weights' gradient, about: a product long enough for a whole GPU. */
enum { WEIGHT_PIXELS = 1 << 14 };

/* Output pixels of an image, at most, that is laid side by side with others. */
#ifndef DN_CONV_SMALL_PIXELS
#define DN_CONV_SMALL_PIXELS 1024
#endif

struct dn_cuda_conv {
    dn_conv_args args;
    dn_products products;
    bool depthwise, pointwise, small;
    dn_slicing each, sum; /* of products an image, of products over images */
    int64_t workspace;
};

/* Floats of workspace that a slice of the weights' gradient takes: columns and, of several images,
 * output gradients. */
static int64_t sum_floats(const dn_cuda_conv *conv, dn_slicing slicing)
{
    const dn_conv_args *a = &conv->args;
    const int64_t columns = (int64_t)slicing.images * slicing.rows * a->geometry.out_w;
    const bool copies = slicing.images > 1;
    return columns * ((conv->pointwise && !copies ? 0 : dn_taps_of(a)) + (copies ? a->filters : 0));
}

static void make_slices(dn_cuda_conv *conv, int32_t passes)
{
    const dn_conv_args *a = &conv->args;
    const int64_t row = dn_taps_of(a) * a->geometry.out_w, limit = DN_CONV_SLICE_FLOATS;
    const int64_t both = row + (int64_t)a->filters * a->geometry.out_w;
    const int64_t enough = dn_smaller(a->images, dn_larger(1, WEIGHT_PIXELS / dn_pixels_of(a)));
    const int64_t used = conv->small ? both : row; /* floats of an output row */
    conv->each = dn_cut(a, used, limit, a->images);
    conv->sum = dn_cut(a, both, limit, enough);
    if (conv->pointwise) {
        conv->each.images = a->images > 0 ? a->images : 1;
        conv->each.rows = conv->sum.rows = a->geometry.out_h;
    } else if (passes & (DN_CONV_FORWARD | DN_CONV_BACKWARD_INPUT)) {
        conv->workspace = used * conv->each.images * conv->each.rows;
    }
    if (passes & DN_CONV_BACKWARD_WEIGHTS)
        conv->workspace = dn_larger(conv->workspace, sum_floats(conv, conv->sum));
}

dn_status dn_cuda_conv_make(const dn_conv_args *args, int32_t passes, dn_products products,
                            dn_cuda_conv **conv)
{
    dn_cuda_conv *made = new (std::nothrow) dn_cuda_conv();
    if (!made) return dn_fail(DN_ERROR_MEMORY, "no memory for the plan of a convolution");
    made->args = *args;
    made->products = products;
    made->depthwise = dn_is_depthwise(args);
    made->pointwise = dn_conv_is_pointwise(&args->geometry);
    made->small =
        !made->pointwise && args->images > 1 && dn_pixels_of(args) <= DN_CONV_SMALL_PIXELS;
    if (!made->depthwise)
        make_slices(made, passes);
    else if (passes & DN_CONV_BACKWARD_WEIGHTS)
        made->workspace = dn_depthwise_cuda_workspace(args, args->images);
    const dn_status status = made->depthwise ? DN_OK : dn_cuda_gemm_prepare();
    if (status == DN_OK)
        *conv = made;
    else
        dn_cuda_conv_free(made);
    return status;
}

void dn_cuda_conv_free(dn_cuda_conv *conv)
{
    delete conv;
}

int64_t dn_cuda_conv_workspace(const dn_cuda_conv *conv)
{
    return conv->workspace;
}

/* Where the values of a slice's first image and of a group begin. */
static int64_t input_at(const dn_conv_args *a, int64_t image, int32_t group)
{
    const dn_conv_geometry *g = &a->geometry;
    return (image * a->groups + group) * g->c * g->h * g->w;
}

static int64_t output_at(const dn_conv_args *a, int64_t image, int32_t group, int32_t row)
{
    return (image * a->groups + group) * a->filters * dn_pixels_of(a) +
           (int64_t)row * a->geometry.out_w;
}

/* A slice's columns, image after image; `side`: side by side in one matrix. */
static dn_columns columns_of(const dn_conv_args *a, const dn_slice *slice, bool side)
{
    const int64_t columns = (int64_t)slice->rows * a->geometry.out_w;
    dn_columns made = {};
    made.geometry = a->geometry;
    made.images = slice->images;
    made.image_step = input_at(a, 1, 0);
    made.first = slice->row;
    made.rows = slice->rows;
    made.pitch = side ? columns * slice->images : columns;
    made.column_step = side ? columns : columns * dn_taps_of(a);
    return made;
}

/* Maps of a slice, `rows` an image, `step` floats from an image to the next. */
static dn_side side_of(const dn_conv_args *a, const dn_slice *slice, int64_t rows, int64_t step)
{
    const dn_side side = {step, slice->images, (int32_t)dn_pixels_of(a), rows};
    return side;
}

static dn_side output_side(const dn_conv_args *a, const dn_slice *slice)
{
    return side_of(a, slice, a->filters, output_at(a, 1, 0, 0));
}

/* weights (filters, taps) of a group * (taps, n), or weights' * (filters, n): the left factor. */
static dn_gemm_args product_of(const dn_conv_args *a, const float *weights, int32_t group,
                               bool transposed, int64_t n)
{
    const int32_t taps = (int32_t)dn_taps_of(a);
    dn_gemm_args product = {};
    product.trans_a = transposed;
    product.m = transposed ? taps : a->filters;
    product.n = product.ldb = product.ldc = (int32_t)n;
    product.k = transposed ? a->filters : taps;
    product.alpha = 1.0f;
    product.a = weights + (int64_t)group * a->filters * taps;
    product.lda = taps;
    return product;
}

/* One group of one slice: out (filters, columns) = weights (filters, taps) * columns. */
static dn_status forward_slice(const dn_cuda_conv *conv, const dn_slice *slice, int32_t group,
                               const float *in, const float *weights, bool accumulate, float *out,
                               float *workspace)
{
    const dn_conv_args *a = &conv->args;
    const bool together = conv->small && slice->images > 1;
    const dn_columns columns = columns_of(a, slice, together);
    const float *image = in + input_at(a, slice->image, group);
    float *to = out + output_at(a, slice->image, group, slice->row);
    if (!conv->pointwise) DN_TRY(dn_cuda_im2col(&columns, image, workspace));
    dn_gemm_args product = product_of(a, weights, group, false, columns.pitch);
    product.b = conv->pointwise ? image : workspace;
    if (together) {
        const dn_side side = output_side(a, slice);
        product.c = workspace + dn_taps_of(a) * columns.pitch;
        DN_TRY(dn_cuda_gemm(&product, conv->products));
        return dn_cuda_spread_side(&side, product.c, accumulate, to);
    }
    product.beta = accumulate ? 1.0f : 0.0f;
    product.c = to;
    product.ldc = (int32_t)dn_pixels_of(a);
    return dn_cuda_gemm_batched(&product, conv->products, slice->images, 0,
                                conv->pointwise ? columns.image_step : columns.column_step,
                                output_at(a, 1, 0, 0));
}

dn_status dn_cuda_conv_forward(const dn_cuda_conv *conv, int32_t images, const float *in,
                               const float *weights, bool accumulate, float *out, float *workspace)
{
    const dn_conv_args *a = &conv->args;
    if (images == 0) return DN_OK;
    if (conv->depthwise) return dn_depthwise_cuda_forward(a, images, in, weights, accumulate, out);
    for (dn_slice slice = {}; dn_next_slice(a, conv->each, images, &slice);)
        for (int32_t group = 0; group < a->groups; group++)
            DN_TRY(forward_slice(conv, &slice, group, in, weights, accumulate, out, workspace));
    return DN_OK;
}

/* The right matrix of the weights' gradient, the columns of a slice, made where need be. */
static dn_status side_columns(const dn_cuda_conv *conv, const dn_slice *slice, const float *image,
                              float *workspace, const float **columns)
{
    const dn_conv_args *a = &conv->args;
    const dn_columns side = columns_of(a, slice, true);
    *columns = workspace;
    if (!conv->pointwise) return dn_cuda_im2col(&side, image, workspace);
    if (slice->images == 1) {
        *columns = image;
        return DN_OK;
    }
    const dn_side maps = side_of(a, slice, dn_taps_of(a), side.image_step);
    return dn_cuda_lay_side(&maps, image, workspace);
}

/* One group of one slice: grad_weights (filters, taps) += grad_out (filters, n) * columns'. */
static dn_status weights_slice(const dn_cuda_conv *conv, const dn_slice *slice, int32_t group,
                               const float *in, const float *grad_out, float *grad_weights,
                               float *workspace)
{
    const dn_conv_args *a = &conv->args;
    const int64_t n = (int64_t)slice->images * slice->rows * a->geometry.out_w;
    const float *grad = grad_out + output_at(a, slice->image, group, slice->row), *columns;
    int64_t pitch = dn_pixels_of(a);
    DN_TRY(side_columns(conv, slice, in + input_at(a, slice->image, group), workspace, &columns));
    if (slice->images > 1) {
        const dn_side maps = output_side(a, slice);
        float *laid = workspace + dn_taps_of(a) * n;
        DN_TRY(dn_cuda_lay_side(&maps, grad, laid));
        grad = laid;
        pitch = n;
    }
    dn_gemm_args product = {};
    product.trans_b = true;
    product.m = a->filters;
    product.n = (int32_t)dn_taps_of(a);
    product.k = (int32_t)n;
    product.alpha = product.beta = 1.0f;
    product.a = grad;
    product.lda = (int32_t)pitch;
    product.b = columns;
    product.ldb = (int32_t)n;
    product.c = grad_weights + (int64_t)group * a->filters * dn_taps_of(a);
    product.ldc = product.n;
    return dn_cuda_gemm(&product, conv->products);
}

dn_status dn_cuda_conv_backward_weights(const dn_cuda_conv *conv, int32_t images, const float *in,
                                        const float *grad_out, float *grad_weights,
                                        float *workspace)
{
    const dn_conv_args *a = &conv->args;
    if (images == 0) return DN_OK;
    if (conv->depthwise)
        return dn_depthwise_cuda_backward_weights(a, images, in, grad_out, grad_weights, workspace);
    for (dn_slice slice = {}; dn_next_slice(a, conv->sum, images, &slice);)
        for (int32_t group = 0; group < a->groups; group++)
            DN_TRY(weights_slice(conv, &slice, group, in, grad_out, grad_weights, workspace));
    return DN_OK;
}

/* One group of one slice: the columns' gradients (taps, n) = weights' * grad_out (filters, n), each
 * added where it came from. */
static dn_status input_slice(const dn_cuda_conv *conv, const dn_slice *slice, int32_t group,
                             const float *grad_out, const float *weights, bool accumulate,
                             float *grad_in, float *workspace)
{
    const dn_conv_args *a = &conv->args;
    const bool together = conv->small && slice->images > 1;
    const dn_columns columns = columns_of(a, slice, together);
    const float *grad = grad_out + output_at(a, slice->image, group, slice->row);
    float *image = grad_in + input_at(a, slice->image, group);
    dn_gemm_args product = product_of(a, weights, group, true, columns.pitch);
    product.c = conv->pointwise ? image : workspace;
    if (together) {
        const dn_side side = output_side(a, slice);
        float *laid = workspace + dn_taps_of(a) * columns.pitch;
        DN_TRY(dn_cuda_lay_side(&side, grad, laid));
        product.b = laid;
        DN_TRY(dn_cuda_gemm(&product, conv->products));
    } else {
        product.b = grad;
        product.ldb = (int32_t)dn_pixels_of(a);
        product.beta = conv->pointwise && accumulate ? 1.0f : 0.0f;
        DN_TRY(dn_cuda_gemm_batched(&product, conv->products, slice->images, 0,
                                    output_at(a, 1, 0, 0),
                                    conv->pointwise ? columns.image_step : columns.column_step));
    }
    if (conv->pointwise) return DN_OK;
    return dn_cuda_col2im(&columns, workspace, accumulate || slice->row > 0, image);
}

dn_status dn_cuda_conv_backward_input(const dn_cuda_conv *conv, int32_t images,
                                      const float *grad_out, const float *weights, bool accumulate,
                                      float *grad_in, float *workspace)
{
    const dn_conv_args *a = &conv->args;
    if (images == 0) return DN_OK;
    if (conv->depthwise)
        return dn_depthwise_cuda_backward_input(a, images, grad_out, weights, accumulate, grad_in);
    for (dn_slice slice = {}; dn_next_slice(a, conv->each, images, &slice);)
        for (int32_t group = 0; group < a->groups; group++)
            DN_TRY(input_slice(conv, &slice, group, grad_out, weights, accumulate, grad_in,
                               workspace));
    return DN_OK;
}
