/* Chooses among the kernels that this build holds. See gemm_kernel.h. */
#include "math/gemm_kernel.h"

#if defined(__x86_64__)
const dn_gemm_kernel *dn_gemm_kernel_in_use(void)
{
    const dn_isa isa = dn_cpu_isa();
    if (isa >= DN_ISA_AVX512) return &dn_gemm_kernel_avx512;
    return isa == DN_ISA_AVX2 ? &dn_gemm_kernel_avx2 : &dn_gemm_kernel_plain;
}
#else
const dn_gemm_kernel *dn_gemm_kernel_in_use(void)
{
    return &dn_gemm_kernel_plain;
}
#endif
