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
template <class T> static __device__ inline void dn_load_eight(const T *from, float values[8])
{
    const uint4 raw = *(const uint4 *)(const void *)from;
    T narrow[8];
    memcpy(narrow, &raw, sizeof raw);
    DN_UNROLL
    for (int k = 0; k < 8; k++) values[k] = dn_wide(narrow[k]);
}

template <class T> static __device__ inline void dn_store_eight(const float values[8], T *to)
{
    uint4 raw;
    T narrow[8];
    DN_UNROLL
    for (int k = 0; k < 8; k++) narrow[k] = dn_narrow<T>(values[k]);
    memcpy(&raw, narrow, sizeof raw);
    *(uint4 *)(void *)to = raw;
}

/* Four; `to` lies at a multiple of 8 bytes. */
template <class T> static __device__ inline void dn_store_four(const float values[4], T *to)
{
    uint2 raw;
    T narrow[4];
    DN_UNROLL
    for (int k = 0; k < 4; k++) narrow[k] = dn_narrow<T>(values[k]);
    memcpy(&raw, narrow, sizeof raw);
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
    if (kind == DN_ACTIVATION_leaky) return x > 0.0f ? x : 0.1f * x;
    if (kind == DN_ACTIVATION_relu) return fmaxf(x, 0.0f);
    if (kind == DN_ACTIVATION_mish) {
        const float e = __expf(fminf(x, 20.0f)), n = e * (e + 2.0f);
        return x * __fdividef(n, n + 2.0f);
    }
    if (kind == DN_ACTIVATION_swish) return x * __fdividef(1.0f, 1.0f + __expf(-x));
    return dn_activate_apart(kind, x);
}

#endif
