/* Convolutions by cuDNN, version 9 or 8: see conv.h. Depthwise ones are ours: conv_depthwise.h.
 *
 * The calls are those of cuDNN's older interface, which adds to what is there (beta = 1) and does
 * every shape. FMA_MATH: the products and sums of float32, no TF32 (math_type); algorithms that
 * transform (Winograd, FFT) are allowed and round more than plain sums. Which one: cudnn_choice.h.
 *
 * Two threads may not run one plan at a time: a call sets the number of images in its descriptors.
 */
#include "conv.h"

#include "conv_depthwise.h"
#include "cudnn_choice.h"
#include "handles.h"

#include <new>

struct dn_cuda_conv {
    dn_conv_args args;
    dn_products products;
    bool depthwise;
    dn_cudnn_conv cudnn;
    int chosen[3]; /* a pass's algorithm, by its NUMBER */
    size_t bytes;  /* of the workspace */
};

static thread_local dn_handles<cudnnHandle_t, cudnnDestroy> handles;

dn_status dn_cudnn_handle(cudnnHandle_t *handle)
{
    cudnnHandle_t *kept = nullptr;
    DN_TRY(handles.place(&kept));
    if (!*kept) {
        cudnnHandle_t made = nullptr;
        DN_CUDNN_TRY(cudnnCreate(&made));
        *kept = made;
        DN_CUDNN_TRY(cudnnSetStream(made, cudaStreamPerThread));
    }
    *handle = *kept;
    return DN_OK;
}

/* The tensors' descriptors for so many images. */
static dn_status set_images(const dn_cuda_conv *conv, int32_t images)
{
    const dn_conv_args *a = &conv->args;
    const dn_conv_geometry *g = &a->geometry;
    DN_CUDNN_TRY(cudnnSetTensor4dDescriptor(conv->cudnn.in, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT,
                                            images, a->groups * g->c, g->h, g->w));
    DN_CUDNN_TRY(cudnnSetTensor4dDescriptor(conv->cudnn.out, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT,
                                            images, a->groups * a->filters, g->out_h, g->out_w));
    return DN_OK;
}

/* What cuDNN may do with float32 factors; sums are in float32. */
static cudnnMathType_t math_type(dn_products products)
{
    return products == DN_PRODUCTS_TF32  ? CUDNN_DEFAULT_MATH
           : products == DN_PRODUCTS_F16 ? CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION
                                         : CUDNN_FMA_MATH;
}

static dn_status describe(dn_cuda_conv *conv)
{
    const dn_conv_args *a = &conv->args;
    const dn_conv_geometry *g = &a->geometry;
    dn_cudnn_conv *c = &conv->cudnn;
    int n = 0, channels = 0, h = 0, w = 0;
    DN_CUDNN_TRY(cudnnCreateTensorDescriptor(&c->in));
    DN_CUDNN_TRY(cudnnCreateTensorDescriptor(&c->out));
    DN_CUDNN_TRY(cudnnCreateFilterDescriptor(&c->weights));
    DN_CUDNN_TRY(cudnnCreateConvolutionDescriptor(&c->conv));
    DN_CUDNN_TRY(cudnnSetFilter4dDescriptor(c->weights, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW,
                                            a->groups * a->filters, g->c, g->size, g->size));
    DN_CUDNN_TRY(cudnnSetConvolution2dDescriptor(c->conv, g->pad, g->pad, g->stride_y, g->stride_x,
                                                 g->dilation, g->dilation, CUDNN_CROSS_CORRELATION,
                                                 CUDNN_DATA_FLOAT));
    DN_CUDNN_TRY(cudnnSetConvolutionGroupCount(c->conv, a->groups));
    DN_CUDNN_TRY(cudnnSetConvolutionMathType(c->conv, math_type(conv->products)));
    DN_TRY(set_images(conv, a->images > 0 ? a->images : 1));
    DN_CUDNN_TRY(
        cudnnGetConvolution2dForwardOutputDim(c->conv, c->in, c->weights, &n, &channels, &h, &w));
    if (h != g->out_h || w != g->out_w)
        return dn_fail(DN_ERROR_DEVICE,
                       "cuDNN gives this convolution %dx%d output pixels, not %dx%d: build without "
                       "CUDNN=1",
                       w, h, g->out_w, g->out_h);
    return DN_OK;
}

/* Chooses a pass's algorithm, and makes room for it and for the one that does every shape. */
template <class Pass> static dn_status choose(dn_cuda_conv *conv, cudnnHandle_t handle)
{
    int device = 0;
    DN_CUDA_TRY(cudaGetDevice(&device));
    const typename Pass::algorithm chosen =
        dn_cudnn_choose<Pass>(handle, &conv->args, conv->products, device, &conv->cudnn);
    cudaGetLastError(); /* measurements that found no memory leave an error behind */
    for (const typename Pass::algorithm algorithm : {chosen, Pass::SAFE}) {
        size_t bytes = 0;
        const cudnnStatus_t status = Pass::bytes(handle, &conv->cudnn, algorithm, &bytes);
        if (algorithm == chosen) DN_CUDNN_TRY(status);
        if (status == CUDNN_STATUS_SUCCESS && bytes > conv->bytes &&
            (algorithm == chosen || bytes <= (size_t)DN_CUDNN_WORKSPACE))
            conv->bytes = bytes;
    }
    conv->chosen[Pass::NUMBER] = (int)chosen;
    return DN_OK;
}

static dn_status make_plan(dn_cuda_conv *conv, int32_t passes)
{
    cudnnHandle_t handle;
    DN_TRY(dn_cudnn_handle(&handle));
    DN_TRY(describe(conv));
    if (passes & DN_CONV_FORWARD) DN_TRY(choose<dn_cudnn_forward>(conv, handle));
    if (passes & DN_CONV_BACKWARD_WEIGHTS) DN_TRY(choose<dn_cudnn_weights>(conv, handle));
    if (passes & DN_CONV_BACKWARD_INPUT) DN_TRY(choose<dn_cudnn_input>(conv, handle));
    return DN_OK;
}

dn_status dn_cuda_conv_make(const dn_conv_args *args, int32_t passes, dn_products products,
                            dn_cuda_conv **conv)
{
    dn_cuda_conv *made = new (std::nothrow) dn_cuda_conv();
    if (!made) return dn_fail(DN_ERROR_MEMORY, "no memory for the plan of a convolution");
    made->args = *args;
    made->products = products;
    made->depthwise = dn_is_depthwise(args);
    dn_status status = DN_OK;
    if (!made->depthwise)
        status = make_plan(made, passes);
    else if (passes & DN_CONV_BACKWARD_WEIGHTS)
        made->bytes = sizeof(float) * (size_t)dn_depthwise_cuda_workspace(args, args->images);
    if (status == DN_OK)
        *conv = made;
    else
        dn_cuda_conv_free(made);
    return status;
}

void dn_cuda_conv_free(dn_cuda_conv *conv)
{
    if (!conv) return;
    if (conv->cudnn.in) cudnnDestroyTensorDescriptor(conv->cudnn.in);
    if (conv->cudnn.out) cudnnDestroyTensorDescriptor(conv->cudnn.out);
    if (conv->cudnn.weights) cudnnDestroyFilterDescriptor(conv->cudnn.weights);
    if (conv->cudnn.conv) cudnnDestroyConvolutionDescriptor(conv->cudnn.conv);
    delete conv;
}

int64_t dn_cuda_conv_workspace(const dn_cuda_conv *conv)
{
    return (int64_t)((conv->bytes + sizeof(float) - 1) / sizeof(float));
}

/* This thread's handle, and the algorithm for so many images: the plan's, or where it does not do
 * fewer, or wants more room for them, the one that does every shape. */
template <class Pass>
static dn_status prepare(const dn_cuda_conv *conv, int32_t images, cudnnHandle_t *handle,
                         typename Pass::algorithm *use)
{
    const typename Pass::algorithm chosen = (typename Pass::algorithm)conv->chosen[Pass::NUMBER];
    DN_TRY(dn_cudnn_handle(handle));
    DN_TRY(set_images(conv, images));
    *use = chosen;
    if (images == conv->args.images) return DN_OK;
    for (const typename Pass::algorithm algorithm : {chosen, Pass::SAFE}) {
        size_t bytes = 0;
        *use = algorithm;
        if (Pass::bytes(*handle, &conv->cudnn, algorithm, &bytes) == CUDNN_STATUS_SUCCESS &&
            bytes <= conv->bytes)
            return DN_OK;
    }
    return dn_fail(DN_ERROR_DEVICE, "cuDNN has no algorithm for %d images in the room of %d",
                   images, conv->args.images);
}

dn_status dn_cuda_conv_forward(const dn_cuda_conv *conv, int32_t images, const float *in,
                               const float *weights, bool accumulate, float *out, float *workspace)
{
    const dn_cudnn_conv *c = &conv->cudnn;
    const float one = 1.0f, beta = accumulate ? 1.0f : 0.0f;
    cudnnHandle_t handle;
    cudnnConvolutionFwdAlgo_t use;
    if (images == 0) return DN_OK;
    if (conv->depthwise)
        return dn_depthwise_cuda_forward(&conv->args, images, in, weights, accumulate, out);
    DN_TRY(prepare<dn_cudnn_forward>(conv, images, &handle, &use));
    DN_CUDNN_TRY(cudnnConvolutionForward(handle, &one, c->in, in, c->weights, weights, c->conv, use,
                                         workspace, conv->bytes, &beta, c->out, out));
    return DN_OK;
}

dn_status dn_cuda_conv_backward_weights(const dn_cuda_conv *conv, int32_t images, const float *in,
                                        const float *grad_out, float *grad_weights,
                                        float *workspace)
{
    const dn_cudnn_conv *c = &conv->cudnn;
    const float one = 1.0f;
    cudnnHandle_t handle;
    cudnnConvolutionBwdFilterAlgo_t use;
    if (images == 0) return DN_OK;
    if (conv->depthwise)
        return dn_depthwise_cuda_backward_weights(&conv->args, images, in, grad_out, grad_weights,
                                                  workspace);
    DN_TRY(prepare<dn_cudnn_weights>(conv, images, &handle, &use));
    DN_CUDNN_TRY(cudnnConvolutionBackwardFilter(handle, &one, c->in, in, c->out, grad_out, c->conv,
                                                use, workspace, conv->bytes, &one, c->weights,
                                                grad_weights));
    return DN_OK;
}

dn_status dn_cuda_conv_backward_input(const dn_cuda_conv *conv, int32_t images,
                                      const float *grad_out, const float *weights, bool accumulate,
                                      float *grad_in, float *workspace)
{
    const dn_cudnn_conv *c = &conv->cudnn;
    const float one = 1.0f, beta = accumulate ? 1.0f : 0.0f;
    cudnnHandle_t handle;
    cudnnConvolutionBwdDataAlgo_t use;
    if (images == 0) return DN_OK;
    if (conv->depthwise)
        return dn_depthwise_cuda_backward_input(&conv->args, images, grad_out, weights, accumulate,
                                                grad_in);
    DN_TRY(prepare<dn_cudnn_input>(conv, images, &handle, &use));
    DN_CUDNN_TRY(cudnnConvolutionBackwardData(handle, &one, c->weights, weights, c->out, grad_out,
                                              c->conv, use, workspace, conv->bytes, &beta, c->in,
                                              grad_in));
    return DN_OK;
}
