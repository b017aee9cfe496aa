/* As much of cuDNN as cuda/ uses, on the CPU: plain loops, for `make host-cuda-check CUDNN=1`.
 *
 * Its searches find a fast algorithm that is not deterministic, which nobody may take, and one that
 * is. That one needs a workspace, more for more images, and writes all over it; the searches write
 * over every array that they get.
 */
#ifndef DN_TESTS_HOST_CUDNN_H
#define DN_TESTS_HOST_CUDNN_H

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"
#include "rounding.h"

#include <cstddef>
#include <cstring>
#include <vector>

enum cudnnStatus_t { CUDNN_STATUS_SUCCESS, CUDNN_STATUS_BAD_PARAM, CUDNN_STATUS_NOT_SUPPORTED };
enum cudnnTensorFormat_t { CUDNN_TENSOR_NCHW, CUDNN_TENSOR_NHWC };
enum cudnnDataType_t { CUDNN_DATA_FLOAT, CUDNN_DATA_HALF, CUDNN_DATA_BFLOAT16 };
enum cudnnConvolutionMode_t { CUDNN_CROSS_CORRELATION };
enum cudnnMathType_t {
    CUDNN_DEFAULT_MATH,
    CUDNN_TENSOR_OP_MATH,
    CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION,
    CUDNN_FMA_MATH
};
enum cudnnDeterminism_t { CUDNN_NON_DETERMINISTIC, CUDNN_DETERMINISTIC };
enum cudnnConvolutionFwdAlgo_t {
    CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
    CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM
};
enum cudnnConvolutionBwdFilterAlgo_t { CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 };
enum cudnnConvolutionBwdDataAlgo_t { CUDNN_CONVOLUTION_BWD_DATA_ALGO_1 };

struct dn_host_cudnn_shape {
    int n, c, h, w;
    cudnnDataType_t type;
    size_t step_n, step_c, step_h, step_w;
};
struct dn_host_cudnn_conv {
    int pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, groups;
    dn_host_rounding rounding;
};
struct dn_host_cudnn {
    int device;
};
typedef dn_host_cudnn *cudnnHandle_t;
typedef dn_host_cudnn_shape *cudnnTensorDescriptor_t, *cudnnFilterDescriptor_t;
typedef dn_host_cudnn_conv *cudnnConvolutionDescriptor_t;

template <typename Algorithm> struct dn_host_cudnn_found {
    Algorithm algo;
    cudnnStatus_t status;
    float time;
    size_t memory;
    cudnnDeterminism_t determinism;
    cudnnMathType_t mathType;
};
typedef dn_host_cudnn_found<cudnnConvolutionFwdAlgo_t> cudnnConvolutionFwdAlgoPerf_t;
typedef dn_host_cudnn_found<cudnnConvolutionBwdFilterAlgo_t> cudnnConvolutionBwdFilterAlgoPerf_t;
typedef dn_host_cudnn_found<cudnnConvolutionBwdDataAlgo_t> cudnnConvolutionBwdDataAlgoPerf_t;

static inline const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_SUCCESS ? "success" : "not supported";
}

template <typename T> static cudnnStatus_t dn_host_cudnn_new(T **made)
{
    *made = new T();
    return CUDNN_STATUS_SUCCESS;
}

template <typename T> static cudnnStatus_t dn_host_cudnn_delete(T *made)
{
    delete made;
    return CUDNN_STATUS_SUCCESS;
}

static inline size_t cudnnGetVersion(void)
{
    return 90000;
}

static inline cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    *handle = new dn_host_cudnn{dn_host_current()};
    return CUDNN_STATUS_SUCCESS;
}
static inline cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    return dn_host_cudnn_delete(handle);
}
static inline cudnnStatus_t cudnnSetStream(cudnnHandle_t, cudaStream_t)
{
    return CUDNN_STATUS_SUCCESS;
}
#define cudnnCreateTensorDescriptor       dn_host_cudnn_new
#define cudnnCreateFilterDescriptor       dn_host_cudnn_new
#define cudnnCreateConvolutionDescriptor  dn_host_cudnn_new
#define cudnnDestroyTensorDescriptor      dn_host_cudnn_delete
#define cudnnDestroyFilterDescriptor      dn_host_cudnn_delete
#define cudnnDestroyConvolutionDescriptor dn_host_cudnn_delete

static inline dn_host_cudnn_shape dn_host_cudnn_planar(int n, int c, int h, int w)
{
    const size_t row = (size_t)w, plane = row * (size_t)h;
    return {n, c, h, w, CUDNN_DATA_FLOAT, plane * (size_t)c, plane, row, 1};
}

static inline cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t tensor,
                                                         cudnnDataType_t type, int n, int c, int h,
                                                         int w, int step_n, int step_c, int step_h,
                                                         int step_w)
{
    *tensor = {n, c, h, w, type, (size_t)step_n, (size_t)step_c, (size_t)step_h, (size_t)step_w};
    return n > 0 && c > 0 && h > 0 && w > 0 ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

static inline cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t tensor,
                                                       cudnnTensorFormat_t, cudnnDataType_t, int n,
                                                       int c, int h, int w)
{
    *tensor = dn_host_cudnn_planar(n, c, h, w);
    return n > 0 && c > 0 && h > 0 && w > 0 ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

static inline cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t filter,
                                                       cudnnDataType_t type,
                                                       cudnnTensorFormat_t format, int k, int c,
                                                       int h, int w)
{
    *filter = dn_host_cudnn_planar(k, c, h, w);
    filter->type = type;
    if (format == CUDNN_TENSOR_NHWC) {
        filter->step_c = 1;
        filter->step_w = (size_t)c;
        filter->step_h = (size_t)(c * w);
    }
    return CUDNN_STATUS_SUCCESS;
}

static inline cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t conv,
                                                            int pad_h, int pad_w, int stride_h,
                                                            int stride_w, int dilation_h,
                                                            int dilation_w, cudnnConvolutionMode_t,
                                                            cudnnDataType_t)
{
    *conv = {pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, 1, DN_HOST_TF32};
    return CUDNN_STATUS_SUCCESS;
}

static inline cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t conv,
                                                          int groups)
{
    conv->groups = groups;
    return CUDNN_STATUS_SUCCESS;
}

static inline cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t conv,
                                                        cudnnMathType_t type)
{
    conv->rounding = type == CUDNN_FMA_MATH                          ? DN_HOST_FULL
                     : type == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION ? DN_HOST_HALF
                                                                     : DN_HOST_TF32;
    return CUDNN_STATUS_SUCCESS;
}

static inline cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(cudnnConvolutionDescriptor_t conv,
                                                                  cudnnTensorDescriptor_t x,
                                                                  cudnnFilterDescriptor_t f, int *n,
                                                                  int *c, int *h, int *w)
{
    *n = x->n;
    *c = f->n;
    *h = (x->h + 2 * conv->pad_h - ((f->h - 1) * conv->dilation_h + 1)) / conv->stride_h + 1;
    *w = (x->w + 2 * conv->pad_w - ((f->w - 1) * conv->dilation_w + 1)) / conv->stride_w + 1;
    return x->c == f->c * conv->groups ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

/* ---- Searches and workspaces ----------------------------------------------------------------- */

static inline size_t dn_host_cudnn_bytes(int images)
{
    return 1000 + 40 * (size_t)images;
}

static inline void dn_host_cudnn_soil(void *block, size_t bytes)
{
    if (bytes > 0) std::memset(block, 0xff, bytes); /* not numbers */
}

static inline size_t dn_host_cudnn_size(const dn_host_cudnn_shape *s)
{
    return sizeof(float) * (size_t)s->n * (size_t)s->c * (size_t)s->h * (size_t)s->w;
}

template <typename Found>
static cudnnStatus_t dn_host_cudnn_find(int images, int room, int *count, Found *list)
{
    if (room < 2) return CUDNN_STATUS_BAD_PARAM;
    *count = 2;
    list[0] = {(decltype(list->algo))1, CUDNN_STATUS_SUCCESS, 1, 0,
               CUDNN_NON_DETERMINISTIC, CUDNN_FMA_MATH};
    list[1] = {(decltype(list->algo))0,     CUDNN_STATUS_SUCCESS, 2,
               dn_host_cudnn_bytes(images), CUDNN_DETERMINISTIC,  CUDNN_FMA_MATH};
    return CUDNN_STATUS_SUCCESS;
}

/* The three questions about a pass, whose arrays are a, b and, written, c. */
#define DN_HOST_CUDNN_PASS(pass, kind, images)                                                     \
    static inline cudnnStatus_t cudnnFindConvolution##pass##AlgorithmEx(                           \
        cudnnHandle_t handle, dn_host_cudnn_shape *a, const void *from_a, dn_host_cudnn_shape *b,  \
        const void *from_b, cudnnConvolutionDescriptor_t, dn_host_cudnn_shape *c, void *to,        \
        int room, int *count, cudnnConvolution##kind##AlgoPerf_t *list, void *workspace,           \
        size_t bytes)                                                                              \
    {                                                                                              \
        if (handle->device != dn_host_current()) return CUDNN_STATUS_BAD_PARAM;                    \
        const dn_host_access open;                                                                 \
        dn_host_cudnn_soil(const_cast<void *>(from_a), dn_host_cudnn_size(a));                     \
        dn_host_cudnn_soil(const_cast<void *>(from_b), dn_host_cudnn_size(b));                     \
        dn_host_cudnn_soil(to, dn_host_cudnn_size(c));                                             \
        if (bytes < dn_host_cudnn_bytes((images)->n)) return CUDNN_STATUS_NOT_SUPPORTED;           \
        dn_host_cudnn_soil(workspace, dn_host_cudnn_bytes((images)->n));                           \
        return dn_host_cudnn_find((images)->n, room, count, list);                                 \
    }                                                                                              \
    static inline cudnnStatus_t cudnnGetConvolution##pass##Algorithm_v7(                           \
        cudnnHandle_t, dn_host_cudnn_shape *a, dn_host_cudnn_shape *b,                             \
        cudnnConvolutionDescriptor_t, dn_host_cudnn_shape *c, int room, int *count,                \
        cudnnConvolution##kind##AlgoPerf_t *list)                                                  \
    {                                                                                              \
        return a && b && c ? dn_host_cudnn_find((images)->n, room, count, list)                    \
                           : CUDNN_STATUS_BAD_PARAM;                                               \
    }                                                                                              \
    static inline cudnnStatus_t cudnnGetConvolution##pass##WorkspaceSize(                          \
        cudnnHandle_t, dn_host_cudnn_shape *a, dn_host_cudnn_shape *b,                             \
        cudnnConvolutionDescriptor_t, dn_host_cudnn_shape *c, cudnnConvolution##kind##Algo_t,      \
        size_t *bytes)                                                                             \
    {                                                                                              \
        *bytes = dn_host_cudnn_bytes((images)->n);                                                 \
        return a && b && c ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;                        \
    }

DN_HOST_CUDNN_PASS(Forward, Fwd, a)
DN_HOST_CUDNN_PASS(BackwardFilter, BwdFilter, a)
DN_HOST_CUDNN_PASS(BackwardData, BwdData, c)

/* ---- Convolutions ---------------------------------------------------------------------------- */

static inline size_t dn_host_cudnn_at(const dn_host_cudnn_shape *s, int n, int c, int y, int x)
{
    return (size_t)n * s->step_n + (size_t)c * s->step_c + (size_t)y * s->step_h +
           (size_t)x * s->step_w;
}

/* Calls product(input's value, filter's, output's) for every product of a convolution. */
template <typename Product>
static void dn_host_cudnn_products(const dn_host_cudnn_shape *x, const dn_host_cudnn_shape *f,
                                   const dn_host_cudnn_shape *y, const dn_host_cudnn_conv *conv,
                                   Product product)
{
    const int filters = f->n / conv->groups;
    for (int n = 0; n < y->n; n++)
        for (int k = 0; k < y->c; k++)
            for (int row = 0; row < y->h; row++)
                for (int column = 0; column < y->w; column++)
                    for (int tap = 0; tap < f->c * f->h * f->w; tap++) {
                        const int c = tap / (f->h * f->w), fy = tap / f->w % f->h, fx = tap % f->w;
                        const int iy = row * conv->stride_h - conv->pad_h + fy * conv->dilation_h;
                        const int ix =
                            column * conv->stride_w - conv->pad_w + fx * conv->dilation_w;
                        if (iy < 0 || iy >= x->h || ix < 0 || ix >= x->w) continue;
                        product(dn_host_cudnn_at(x, n, k / filters * f->c + c, iy, ix),
                                dn_host_cudnn_at(f, k, c, fy, fx),
                                dn_host_cudnn_at(y, n, k, row, column));
                    }
}

/* to = alpha * sums + beta * to, where to is not read for beta = 0; sums are in double. */
template <typename Fill>
static cudnnStatus_t dn_host_cudnn_run(cudnnHandle_t handle, const void *alpha, const void *beta,
                                       const dn_host_cudnn_shape *shape, void *to, void *workspace,
                                       size_t bytes, int images, Fill fill)
{
    if (handle->device != dn_host_current() || bytes < dn_host_cudnn_bytes(images))
        return CUDNN_STATUS_BAD_PARAM;
    dn_host_drain();
    const dn_host_access open;
    dn_host_cudnn_soil(workspace, dn_host_cudnn_bytes(images));
    std::vector<double> sums(dn_host_cudnn_size(shape) / sizeof(float));
    fill(sums.data());
    const float a = *static_cast<const float *>(alpha), b = *static_cast<const float *>(beta);
    float *out = static_cast<float *>(to);
    for (size_t i = 0; i < sums.size(); i++)
        out[i] = (float)((double)a * sums[i] + (b == 0.0f ? 0.0 : (double)b * (double)out[i]));
    return CUDNN_STATUS_SUCCESS;
}

static inline float dn_host_cudnn_value(cudnnDataType_t type, const void *values, size_t i)
{
    return type == CUDNN_DATA_HALF
               ? __half2float(static_cast<const __half *>(values)[i])
               : __bfloat162float(static_cast<const __nv_bfloat16 *>(values)[i]);
}

/* In 16 bits: reads and writes what the descriptors' steps lead to, nothing else. An output that is
 * part of wider pixels is refused here and no earlier, as cuDNN 9 does. */
static cudnnStatus_t dn_host_cudnn_half(cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                                        const void *in, cudnnFilterDescriptor_t f,
                                        const void *weights, cudnnConvolutionDescriptor_t conv,
                                        void *workspace, size_t bytes, cudnnTensorDescriptor_t y,
                                        void *out)
{
    if (handle->device != dn_host_current() || bytes < dn_host_cudnn_bytes(x->n))
        return CUDNN_STATUS_BAD_PARAM;
    if (y->step_w != (size_t)y->c) return CUDNN_STATUS_NOT_SUPPORTED;
    const dn_host_cudnn_shape from = *x, by = *f, to = *y;
    const dn_host_cudnn_conv how = *conv;
    dn_host_ask([=] {
        dn_host_cudnn_soil(workspace, dn_host_cudnn_bytes(from.n));
        dn_host_cudnn_shape dense = dn_host_cudnn_planar(to.n, to.c, to.h, to.w);
        std::vector<double> sums(dn_host_cudnn_size(&dense) / sizeof(float));
        dn_host_cudnn_products(&from, &by, &dense, &how, [&](size_t a, size_t b, size_t c) {
            sums[c] += (double)dn_host_cudnn_value(from.type, in, a) *
                       (double)dn_host_cudnn_value(by.type, weights, b);
        });
        for (size_t i = 0; i < sums.size(); i++) {
            const size_t row = i / (size_t)to.w, map = row / (size_t)to.h;
            const size_t at = map / (size_t)to.c * to.step_n + map % (size_t)to.c * to.step_c +
                              row % (size_t)to.h * to.step_h + i % (size_t)to.w * to.step_w;
            if (to.type == CUDNN_DATA_HALF)
                static_cast<__half *>(out)[at] = __float2half_rn((float)sums[i]);
            else
                static_cast<__nv_bfloat16 *>(out)[at] = __float2bfloat16_rn((float)sums[i]);
        }
    });
    return CUDNN_STATUS_SUCCESS;
}

static inline cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void *alpha,
                                                    cudnnTensorDescriptor_t x, const void *in,
                                                    cudnnFilterDescriptor_t f, const void *weights,
                                                    cudnnConvolutionDescriptor_t conv,
                                                    cudnnConvolutionFwdAlgo_t, void *workspace,
                                                    size_t bytes, const void *beta,
                                                    cudnnTensorDescriptor_t y, void *out)
{
    if (x->type != CUDNN_DATA_FLOAT)
        return dn_host_cudnn_half(handle, x, in, f, weights, conv, workspace, bytes, y, out);
    const float *i = static_cast<const float *>(in), *w = static_cast<const float *>(weights);
    return dn_host_cudnn_run(
        handle, alpha, beta, y, out, workspace, bytes, x->n, [&](double *sums) {
            dn_host_cudnn_products(x, f, y, conv, [&](size_t a, size_t b, size_t c) {
                sums[c] +=
                    dn_host_rounded(i[a], conv->rounding) * dn_host_rounded(w[b], conv->rounding);
            });
        });
}

static inline cudnnStatus_t
cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void *alpha, cudnnTensorDescriptor_t x,
                               const void *in, cudnnTensorDescriptor_t y, const void *grad_out,
                               cudnnConvolutionDescriptor_t conv, cudnnConvolutionBwdFilterAlgo_t,
                               void *workspace, size_t bytes, const void *beta,
                               cudnnFilterDescriptor_t f, void *grad_weights)
{
    const float *i = static_cast<const float *>(in), *g = static_cast<const float *>(grad_out);
    return dn_host_cudnn_run(
        handle, alpha, beta, f, grad_weights, workspace, bytes, x->n, [&](double *sums) {
            dn_host_cudnn_products(x, f, y, conv, [&](size_t a, size_t b, size_t c) {
                sums[b] +=
                    dn_host_rounded(i[a], conv->rounding) * dn_host_rounded(g[c], conv->rounding);
            });
        });
}

static inline cudnnStatus_t
cudnnConvolutionBackwardData(cudnnHandle_t handle, const void *alpha, cudnnFilterDescriptor_t f,
                             const void *weights, cudnnTensorDescriptor_t y, const void *grad_out,
                             cudnnConvolutionDescriptor_t conv, cudnnConvolutionBwdDataAlgo_t,
                             void *workspace, size_t bytes, const void *beta,
                             cudnnTensorDescriptor_t x, void *grad_in)
{
    const float *w = static_cast<const float *>(weights), *g = static_cast<const float *>(grad_out);
    return dn_host_cudnn_run(
        handle, alpha, beta, x, grad_in, workspace, bytes, x->n, [&](double *sums) {
            dn_host_cudnn_products(x, f, y, conv, [&](size_t a, size_t b, size_t c) {
                sums[a] +=
                    dn_host_rounded(w[b], conv->rounding) * dn_host_rounded(g[c], conv->rounding);
            });
        });
}

#endif
