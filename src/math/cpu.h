/* Which instruction set the float32 kernels use: the best one that the processor and the
 * operating system offer and that this build holds.
 */
#ifndef DN_MATH_CPU_H
#define DN_MATH_CPU_H

typedef enum dn_isa { DN_ISA_PLAIN = 0, DN_ISA_AVX2, DN_ISA_AVX512 } dn_isa;

/* Found once, at the first call. The environment variable DARKNET_ISA (plain, avx2 or avx512) can
 * lower it, never raise it; any other value is ignored. */
dn_isa dn_cpu_isa(void);

/* "plain", "avx2" or "avx512". */
const char *dn_isa_name(dn_isa isa);

#endif
