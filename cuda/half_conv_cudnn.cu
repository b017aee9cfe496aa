/* cuDNN's form of a convolution in half precision: see half_conv.h.
 *
 * The product is cuDNN's, on tensors with the channels last, by the algorithm that runs on tensor
 * cores and is deterministic; bias, activation and sum follow in a launch of ours, in place: cuDNN
 * has no leaky or mish behind a convolution. What is packed for our tiles is what cuDNN reads. The
 * product is rounded to 16 bits once more than with our tiles.
 */
#include "half_conv.h"

#include "cudnn_choice.h"
#include "half_end.h"
#include "place.h"

static const cudnnConvolutionFwdAlgo_t ALGORITHM = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;

static void destroy(dn_cudnn_conv *c)
{
    if (c->in) cudnnDestroyTensorDescriptor(c->in);
    if (c->out) cudnnDestroyTensorDescriptor(c->out);
    if (c->weights) cudnnDestroyFilterDescriptor(c->weights);
    if (c->conv) cudnnDestroyConvolutionDescriptor(c->conv);
}

static dn_status describe(const dn_half_conv *conv, dn_cudnn_conv *c)
{
    const cudnnDataType_t type = conv->bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
    const int in = (int)conv->in_pixel, out = (int)conv->out_pixel;
    DN_CUDNN_TRY(cudnnCreateTensorDescriptor(&c->in));
    DN_CUDNN_TRY(cudnnCreateTensorDescriptor(&c->out));
    DN_CUDNN_TRY(cudnnCreateFilterDescriptor(&c->weights));
    DN_CUDNN_TRY(cudnnCreateConvolutionDescriptor(&c->conv));
    DN_CUDNN_TRY(cudnnSetTensor4dDescriptorEx(c->in, type, conv->images, conv->c, conv->h, conv->w,
                                              conv->h * conv->w * in, 1, conv->w * in, in));
    DN_CUDNN_TRY(cudnnSetTensor4dDescriptorEx(
        c->out, type, conv->images, conv->filters, conv->out_h, conv->out_w,
        conv->out_h * conv->out_w * out, 1, conv->out_w * out, out));
    DN_CUDNN_TRY(cudnnSetFilter4dDescriptor(c->weights, type, CUDNN_TENSOR_NHWC, conv->filters,
                                            conv->c, conv->size, conv->size));
    DN_CUDNN_TRY(cudnnSetConvolution2dDescriptor(c->conv, conv->pad, conv->pad, conv->stride_y,
                                                 conv->stride_x, conv->dilation, conv->dilation,
                                                 CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    DN_CUDNN_TRY(cudnnSetConvolutionMathType(c->conv, CUDNN_TENSOR_OP_MATH));
    return DN_OK;
}

/* The workspace; an error where cuDNN does not do it, or gives another size. */
static dn_status prepare(const dn_half_conv *conv, cudnnHandle_t handle, dn_cudnn_conv *c,
                         size_t *bytes)
{
    int n = 0, channels = 0, h = 0, w = 0;
    DN_TRY(describe(conv, c));
    DN_CUDNN_TRY(
        cudnnGetConvolution2dForwardOutputDim(c->conv, c->in, c->weights, &n, &channels, &h, &w));
    DN_CUDNN_TRY(cudnnGetConvolutionForwardWorkspaceSize(handle, c->in, c->weights, c->conv, c->out,
                                                         ALGORITHM, bytes));
    if (h != conv->out_h || w != conv->out_w || *bytes > (size_t)DN_HALF_WORKSPACE)
        return dn_fail(DN_ERROR_DEVICE,
                       "cuDNN gives this convolution %dx%d output pixels, not "
                       "%dx%d, or needs %zu bytes for it",
                       w, h, conv->out_w, conv->out_h, *bytes);
    return DN_OK;
}

bool dn_half_cudnn_fits(const dn_half_conv *conv)
{
    const int64_t in = (int64_t)conv->h * conv->w * conv->in_pixel * conv->images;
    const int64_t out = (int64_t)conv->out_h * conv->out_w * conv->out_pixel * conv->images;
    if (conv->groups != 1 || conv->depthwise || conv->pixels_in || conv->planar_out ||
        conv->enlargement != 1 || conv->repeats != 1 || conv->filters % 8 != 0 || in > INT32_MAX ||
        out > INT32_MAX)
        return false;
    cudnnHandle_t handle;
    dn_cudnn_conv c = {};
    size_t bytes = 0;
    const bool fits =
        dn_cudnn_handle(&handle) == DN_OK && prepare(conv, handle, &c, &bytes) == DN_OK;
    destroy(&c);
    return fits;
}

template <class T>
static __global__ void finish(const __grid_constant__ dn_half_conv conv, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, conv.filters / 8, 1);
        const int32_t channel = at.x * 8;
        float values[8];
        dn_load_eight((const T *)conv.out + at.map * conv.out_pixel + channel, values);
        dn_end_eight<T>(&conv, values, at.map, channel, 0);
    }
}

static dn_status multiply(const dn_half_conv *conv, dn_cudnn_conv *c,
                          const dn_half_workspace *workspace)
{
    const float one = 1.0f, zero = 0.0f;
    cudnnHandle_t handle;
    size_t bytes = 0;
    DN_TRY(dn_cudnn_handle(&handle));
    DN_TRY(prepare(conv, handle, c, &bytes));
    DN_CUDNN_TRY(cudnnConvolutionForward(handle, &one, c->in, conv->in, c->weights, conv->weights,
                                         c->conv, ALGORITHM, workspace->parts, bytes, &zero, c->out,
                                         conv->out));
    return DN_OK;
}

dn_status dn_half_cudnn_run(const dn_half_conv *conv, const dn_half_workspace *workspace)
{
    const int64_t pixels = (int64_t)conv->images * conv->out_h * conv->out_w;
    const int64_t count = pixels * (conv->filters / 8);
    dn_cudnn_conv c = {};
    const dn_status status = multiply(conv, &c, workspace);
    destroy(&c);
    DN_TRY(status);
    if (conv->bf16)
        DN_FOLLOW(finish<__nv_bfloat16>, count, *conv, count);
    else
        DN_FOLLOW(finish<__half>, count, *conv, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

int32_t dn_half_cudnn_version(void)
{
    return (int32_t)cudnnGetVersion();
}
