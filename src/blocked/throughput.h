/* What the estimates of the forms (dn_conv_form.cost) assume of the instruction set that a file is
 * compiled for. Only for src/blocked.
 *
 * An estimate counts in cycles of an idle core: one that multiplies two vectors a cycle, or one
 * vector of 16 lanes. Real ones take 1.1 to 1.3 times as long; forms have to be right beside each
 * other. The numbers for AVX2 and plain C are measured, the others follow from the instructions of
 * the tiles' loops (docs/performance.md).
 */
#ifndef DN_BLOCKED_THROUGHPUT_H
#define DN_BLOCKED_THROUGHPUT_H

#include "blocked/dot.h"

/* Fused multiply-adds of vectors. */
enum { DN_PRODUCTS_A_CYCLE = DN_LANES == 16 ? 1 : 2 };

/* A product of words beside one of floats. int8: VNNI multiplies a word of 4 by one instruction;
 * else a word is 2, and takes a product and an addition, which meet at the same ports with 16
 * lanes. Without either, the compiler cuts words by shifts. bfloat16: a word is 2. */
#if DN_INT8_IN_WORD == 4
#define DN_INT8_CYCLES 1.0
#elif defined(__AVX512F__)
#define DN_INT8_CYCLES 2.0
#elif defined(__AVX2__)
#define DN_INT8_CYCLES 1.4
#else
#define DN_INT8_CYCLES 4.5
#endif
#define DN_BF16_CYCLES (DN_BF16_ROUNDS == 1 ? 1.0 : 2.5)

/* To turn a vector of floats into parts of words, and to wait for all of them. */
enum { DN_CONVERT_CYCLES = 10 };

#endif
