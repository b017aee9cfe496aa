/* Which instruction set the kernels use: the best one that the processor and the operating system
 * offer and that this build holds.
 */
#ifndef DN_MATH_CPU_H
#define DN_MATH_CPU_H

/* A later one of a family holds all that the earlier ones have. The last two add instructions for
 * int8 and bfloat16; float32 code asks for >= DN_ISA_AVX512. */
typedef enum dn_isa {
    DN_ISA_PLAIN = 0,
    DN_ISA_NEON,
    DN_ISA_AVX2,
    DN_ISA_AVX512,
    DN_ISA_AVX512VNNI,
    DN_ISA_AVX512BF16
} dn_isa;

/* Found once, at the first call. The environment variable DARKNET_ISA (a name
 * below) can lower it, never raise it; any other value is ignored. */
dn_isa dn_cpu_isa(void);

/* The processor's own name and number; where it does not say, "unknown". Until the thread ends. */
const char *dn_cpu_name(void);

/* "plain", "neon", "avx2", "avx512", "avx512vnni" or "avx512bf16". */
const char *dn_isa_name(dn_isa isa);

#endif
