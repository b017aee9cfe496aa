/* One vector of floats of the instruction set that a file is compiled for. Only for src/blocked.
 *
 * Arithmetic is the compiler's own on vector types (+, -, *, comparisons); what C has no operator
 * for is here. dn_fma rounds once where the instruction set can (x86 with FMA, Arm), twice in plain
 * C. Loads and stores need no alignment. Plain C has vectors of 4 floats or, with DN_WIDE, as many
 * lanes and registers as AVX-512: so `make wide-check` tests the code for it on any machine.
 */
#ifndef DN_BLOCKED_VECTOR_H
#define DN_BLOCKED_VECTOR_H

#include "blocked/isa.h"

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
enum { DN_LANES = 16 };
#define DN_REGISTERS 32
typedef __m512 dn_vec;
#define dn_fma(a, b, c)     _mm512_fmadd_ps(a, b, c)
#define dn_vec_set(x)       _mm512_set1_ps(x)
#define dn_vec_load(p)      _mm512_loadu_ps(p)
#define dn_vec_store(p, x)  _mm512_storeu_ps(p, x)
#define dn_vec_stream(p, x) _mm512_stream_ps(p, x)
#define dn_vec_max(a, b)    _mm512_max_ps(a, b)
#define dn_vec_min(a, b)    _mm512_min_ps(a, b)
#elif defined(__AVX2__)
#include <immintrin.h>
enum { DN_LANES = 8 };
#define DN_REGISTERS        16
typedef __m256 dn_vec;
#define dn_fma(a, b, c)     _mm256_fmadd_ps(a, b, c)
#define dn_vec_set(x)       _mm256_set1_ps(x)
#define dn_vec_load(p)      _mm256_loadu_ps(p)
#define dn_vec_store(p, x)  _mm256_storeu_ps(p, x)
#define dn_vec_stream(p, x) _mm256_stream_ps(p, x)
#define dn_vec_max(a, b)    _mm256_max_ps(a, b)
#define dn_vec_min(a, b)    _mm256_min_ps(a, b)
#elif defined(__ARM_NEON)
#include <arm_neon.h>
enum { DN_LANES = 4 };
#define DN_REGISTERS        32
typedef float32x4_t dn_vec;
#define dn_fma(a, b, c)     vfmaq_f32(c, a, b)
#define dn_vec_set(x)       vdupq_n_f32(x)
#define dn_vec_load(p)      vld1q_f32(p)
#define dn_vec_store(p, x)  vst1q_f32(p, x)
#define dn_vec_stream(p, x) vst1q_f32(p, x)
#define dn_vec_max(a, b)    vmaxq_f32(a, b)
#define dn_vec_min(a, b)    vminq_f32(a, b)
#else
#if defined(DN_WIDE)
enum { DN_LANES = 16 };
#define DN_REGISTERS 32
#else
enum { DN_LANES = 4 };
#define DN_REGISTERS 16
#endif
typedef float dn_vec __attribute__((vector_size(4 * DN_LANES)));
#define dn_fma(a, b, c)     ((a) * (b) + (c))
static inline dn_vec dn_vec_set(float x)
{
    const int32_t first __attribute__((vector_size(sizeof(dn_vec)))) = {0};
    return __builtin_shuffle((dn_vec){x}, first);
}
static inline dn_vec dn_vec_load(const float *p)
{
    dn_vec x;
    memcpy(&x, p, sizeof x);
    return x;
}
static inline void dn_vec_store(float *p, dn_vec x)
{
    memcpy(p, &x, sizeof x);
}
#define dn_vec_stream(p, x) dn_vec_store(p, x)
static inline dn_vec dn_vec_max(dn_vec a, dn_vec b)
{
    for (int i = 0; i < DN_LANES; ++i) a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}
static inline dn_vec dn_vec_min(dn_vec a, dn_vec b)
{
    for (int i = 0; i < DN_LANES; ++i) a[i] = a[i] < b[i] ? a[i] : b[i];
    return a;
}
#endif

/* The same bits as numbers. */
typedef uint32_t dn_vec_bits __attribute__((vector_size(4 * DN_LANES)));
typedef int32_t dn_vec_ints __attribute__((vector_size(4 * DN_LANES)));

/* For helpers that must vanish into their caller, so that sums stay in registers. */
#define DN_INLINE static inline __attribute__((always_inline))

/* sum += a * b. The compiler's own choice among the three forms of the instruction moves and spills
 * sums where a register tile takes all registers: x86 is told which one. */
DN_INLINE void dn_fma_into(dn_vec *sum, dn_vec a, dn_vec b)
{
#if defined(__AVX512F__)
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(*sum) : "v"(a), "v"(b));
#elif defined(__AVX2__)
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(*sum) : "x"(a), "x"(b));
#else
    *sum = dn_fma(a, b, *sum);
#endif
}

#endif
