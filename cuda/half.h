/* Values of 16 bits for the inference plan: half precision and bfloat16, eight at a time.
 *
 * A kernel is written once, as a template over the type, and computes in float. What a type cannot
 * hold becomes its largest value, not infinity, which a weight of 0 would turn into no number.
 */
#ifndef DN_CUDA_HALF_H
#define DN_CUDA_HALF_H

#include "launch.h"
#include "math/activation.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <string.h>

enum { DN_EIGHT = 8 };

static __device__ inline float dn_wide(__half value)
{
    return __half2float(value);
}

static __device__ inline float dn_wide(__nv_bfloat16 value)
{
    return __bfloat162float(value);
}

template <class T> static __device__ T dn_narrow(float value);

template <> __device__ inline __half dn_narrow<__half>(float value)
{
    return __float2half_rn(fminf(fmaxf(value, -65504.0f), 65504.0f));
}

template <> __device__ inline __nv_bfloat16 dn_narrow<__nv_bfloat16>(float value)
{
    return __float2bfloat16_rn(value);
}

/* Eight values that follow each other; `from` and `to` lie at a multiple of 16 bytes. */
template <class T> static __device__ inline void dn_widen_eight(uint4 raw, float values[8])
{
    T narrow[8];
    memcpy(narrow, &raw, sizeof raw);
    DN_UNROLL
    for (int k = 0; k < 8; k++) values[k] = dn_wide(narrow[k]);
}

template <class T> static __device__ inline void dn_load_eight(const T *from, float values[8])
{
    dn_widen_eight<T>(*(const uint4 *)(const void *)from, values);
}

/* Two values beside each other. */
template <class T> static __device__ inline uint32_t dn_narrow_two(float first, float second)
{
    const T narrow[2] = {dn_narrow<T>(first), dn_narrow<T>(second)};
    uint32_t raw;
    memcpy(&raw, narrow, sizeof raw);
    return raw;
}

/* The larger of each. */
template <class T> static __device__ inline uint32_t dn_most_two(uint32_t a, uint32_t b)
{
    T left[2], right[2];
    memcpy(left, &a, sizeof a);
    memcpy(right, &b, sizeof b);
    return dn_narrow_two<T>(fmaxf(dn_wide(left[0]), dn_wide(right[0])),
                            fmaxf(dn_wide(left[1]), dn_wide(right[1])));
}

/* Where the GPU narrows two at once and compares them so. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
template <> __device__ inline uint32_t dn_narrow_two<__half>(float first, float second)
{
    const __half2 most = __float2half2_rn(65504.0f);
    const __half2 narrow = __hmin2(__hmax2(__floats2half2_rn(first, second), __hneg2(most)), most);
    uint32_t raw;
    memcpy(&raw, &narrow, sizeof raw);
    return raw;
}

template <> __device__ inline uint32_t dn_narrow_two<__nv_bfloat16>(float first, float second)
{
    const __nv_bfloat162 narrow = __floats2bfloat162_rn(first, second);
    uint32_t raw;
    memcpy(&raw, &narrow, sizeof raw);
    return raw;
}

template <class T2> static __device__ inline uint32_t dn_most_pair(uint32_t a, uint32_t b)
{
    T2 left, right;
    memcpy(&left, &a, sizeof a);
    memcpy(&right, &b, sizeof b);
    left = __hmax2(left, right);
    memcpy(&a, &left, sizeof a);
    return a;
}

template <> __device__ inline uint32_t dn_most_two<__half>(uint32_t a, uint32_t b)
{
    return dn_most_pair<__half2>(a, b);
}

template <> __device__ inline uint32_t dn_most_two<__nv_bfloat16>(uint32_t a, uint32_t b)
{
    return dn_most_pair<__nv_bfloat162>(a, b);
}
#endif

template <class T> static __device__ inline uint4 dn_most_eight(uint4 a, uint4 b)
{
    const uint4 most = {dn_most_two<T>(a.x, b.x), dn_most_two<T>(a.y, b.y),
                        dn_most_two<T>(a.z, b.z), dn_most_two<T>(a.w, b.w)};
    return most;
}

template <class T> static __device__ inline void dn_store_eight(const float values[8], T *to)
{
    const uint4 raw = {
        dn_narrow_two<T>(values[0], values[1]), dn_narrow_two<T>(values[2], values[3]),
        dn_narrow_two<T>(values[4], values[5]), dn_narrow_two<T>(values[6], values[7])};
    *(uint4 *)(void *)to = raw;
}

/* Four; `to` lies at a multiple of 8 bytes. */
template <class T> static __device__ inline void dn_store_four(const float values[4], T *to)
{
    const uint2 raw = {dn_narrow_two<T>(values[0], values[1]),
                       dn_narrow_two<T>(values[2], values[3])};
    *(uint2 *)(void *)to = raw;
}

/* The rare ones, once in a program. */
#ifdef __CUDACC__
#define DN_APART static __device__ __noinline__
#else
#define DN_APART static inline
#endif

DN_APART float dn_activate_apart(dn_activation kind, float x)
{
    return dn_activate(kind, x);
}

/* dn_activate for values that are rounded to 16 bits: one exponential of the hardware's in place of
 * exact functions. With e = exp(x), tanh(log(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2). */
static __device__ inline float dn_activate_fast(dn_activation kind, float x)
{
    if (kind == DN_ACTIVATION_linear) return x;
    if (kind == DN_ACTIVATION_leaky) return fmaxf(x, 0.1f * x);
    if (kind == DN_ACTIVATION_relu) return fmaxf(x, 0.0f);
    if (kind == DN_ACTIVATION_mish) {
        const float e = __expf(fminf(x, 20.0f)), n = e * (e + 2.0f);
        return x * __fdividef(n, n + 2.0f);
    }
    if (kind == DN_ACTIVATION_swish) return x * __fdividef(1.0f, 1.0f + __expf(-x));
    return dn_activate_apart(kind, x);
}

template <dn_activation KIND, int N> static __device__ inline void dn_activate_as(float *values)
{
    DN_UNROLL
    for (int k = 0; k < N; k++) values[k] = dn_activate_fast(KIND, values[k]);
}

/* N values: which activation it is, is asked once. */
template <int N> static __device__ inline void dn_activate_all(dn_activation kind, float *values)
{
    if (kind == DN_ACTIVATION_linear) return;
    if (kind == DN_ACTIVATION_leaky) return dn_activate_as<DN_ACTIVATION_leaky, N>(values);
    if (kind == DN_ACTIVATION_relu) return dn_activate_as<DN_ACTIVATION_relu, N>(values);
    if (kind == DN_ACTIVATION_mish) return dn_activate_as<DN_ACTIVATION_mish, N>(values);
    if (kind == DN_ACTIVATION_swish) return dn_activate_as<DN_ACTIVATION_swish, N>(values);
    DN_UNROLL
    for (int k = 0; k < N; k++) values[k] = dn_activate_apart(kind, values[k]);
}

#endif
