/* Products of words: what a step of a register tile adds to its sums. Only for src/blocked.
 *
 * A word is 32 bits of a vector, and a vector of sums has a lane a word:
 * float32  one float;
 * int8     DN_INT8_IN_WORD inputs (0..255) or weights (-127..127): 4 bytes for VNNI's dot product,
 *          elsewhere 2 numbers of 16 bits, whose products AVX2 and AVX-512 add in pairs. Sums are
 *          integers and exact, so they are the same everywhere;
 * bfloat16 2 numbers. The product of the second is added first, each addition rounds to nearest, as
 *          AVX512_BF16 does it; elsewhere two rounds of fused multiply-adds, or of products and
 *          additions, which is the same because the products are exact. (The instruction takes
 *          denormal numbers for 0; here they count.)
 */
#ifndef DN_BLOCKED_DOT_H
#define DN_BLOCKED_DOT_H

#include "blocked/conv_form.h"
#include "blocked/vector.h"

#if defined(__AVX512VNNI__) || defined(DN_WIDE)
#define DN_INT8_IN_WORD 4
#else
#define DN_INT8_IN_WORD 2
#endif
enum { DN_BF16_IN_WORD = 2 };

/* sum += the products of inputs and weights. The compiler spills where two instructions need a
 * register between them: it is told. */
#if defined(__AVX512VNNI__)
DN_INLINE void dn_dot_int8(dn_vec *sum, dn_vec x, dn_vec w)
{
    *sum = (dn_vec)_mm512_dpbusd_epi32((__m512i)*sum, (__m512i)x, (__m512i)w);
}
#elif defined(__AVX512F__)
DN_INLINE void dn_dot_int8(dn_vec *sum, dn_vec x, dn_vec w)
{
    dn_vec pairs;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+v"(*sum), "=&v"(pairs) : "v"(x), "v"(w));
}
#elif defined(__AVX2__)
DN_INLINE void dn_dot_int8(dn_vec *sum, dn_vec x, dn_vec w)
{
    dn_vec pairs;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(*sum), "=&x"(pairs) : "x"(x), "x"(w));
}
#else
#if defined(DN_WIDE)
static __attribute__((noinline, unused)) /* each would be hundreds of instructions */
#else
DN_INLINE
#endif
void dn_dot_int8(dn_vec *sum, dn_vec x, dn_vec w)
{
    dn_vec_ints total = (dn_vec_ints)*sum;
    const int bits = 32 / DN_INT8_IN_WORD;
#pragma GCC unroll 4
    for (int i = 1; i <= DN_INT8_IN_WORD; ++i) {
        const dn_vec_bits input = (dn_vec_bits)x << (32 - i * bits) >> (32 - bits);
        const dn_vec_ints weight = (dn_vec_ints)((dn_vec_bits)w << (32 - i * bits)) >> (32 - bits);
        total += (dn_vec_ints)input * weight;
    }
    *sum = (dn_vec)total;
}
#endif

/* The lowest 8 or 16 bits of each lane. (The compiler's own conversion of 16 lanes is slow.) */
#if defined(__AVX512F__)
#define dn_store_bytes(to, bits)  _mm512_mask_cvtepi32_storeu_epi8(to, 0xffff, (__m512i)(bits))
#define dn_store_halves(to, bits) _mm512_mask_cvtepi32_storeu_epi16(to, 0xffff, (__m512i)(bits))
#else
DN_INLINE void dn_store_bytes(void *to, dn_vec_bits bits)
{
    typedef uint8_t dn_bytes __attribute__((vector_size(DN_LANES)));
    const dn_bytes bytes = __builtin_convertvector(bits, dn_bytes);
    memcpy(to, &bytes, sizeof bytes);
}

DN_INLINE void dn_store_halves(void *to, dn_vec_bits bits)
{
    typedef uint16_t dn_halves __attribute__((vector_size(2 * DN_LANES)));
    const dn_halves halves = __builtin_convertvector(bits, dn_halves);
    memcpy(to, &halves, sizeof halves);
}
#endif

/* A step is so many rounds; each multiplies a part of the words. */
#if defined(__AVX512BF16__)
enum { DN_BF16_ROUNDS = 1 };
#else
enum { DN_BF16_ROUNDS = 2 };
#endif

DN_INLINE int dn_dot_rounds(dn_conv_precision precision)
{
    return precision == DN_CONV_BF16 ? DN_BF16_ROUNDS : 1;
}

DN_INLINE dn_vec dn_dot_part(dn_conv_precision precision, int round, dn_vec words)
{
    if (dn_dot_rounds(precision) == 1) return words;
    const dn_vec_bits bits = (dn_vec_bits)words;
    return round == 0 ? (dn_vec)(bits & 0xffff0000u) : (dn_vec)(bits << 16);
}

/* sum += the products of two words' parts. */
DN_INLINE void dn_dot_into(dn_conv_precision precision, dn_vec *sum, dn_vec x, dn_vec w)
{
#if defined(__AVX512BF16__)
    if (precision == DN_CONV_BF16) {
        *sum = _mm512_dpbf16_ps(*sum, (__m512bh)x, (__m512bh)w);
        return;
    }
#endif
    if (precision == DN_CONV_INT8)
        dn_dot_int8(sum, x, w);
    else
        dn_fma_into(sum, x, w);
}

#endif
