/* Processor features, asked once. See cpu.h. */
#include "math/cpu.h"

#include "darknet.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
static dn_isa best_isa(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return DN_ISA_PLAIN;
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (!wide) return DN_ISA_AVX2;
    if (!__builtin_cpu_supports("avx512vnni")) return DN_ISA_AVX512;
    return __builtin_cpu_supports("avx512bf16") ? DN_ISA_AVX512BF16 : DN_ISA_AVX512VNNI;
}
#elif defined(__aarch64__)
static dn_isa best_isa(void)
{
    return DN_ISA_NEON; /* every 64-bit Arm has it */
}
#else
static dn_isa best_isa(void)
{
    return DN_ISA_PLAIN;
}
#endif

const char *dn_isa_name(dn_isa isa)
{
    static const char *const names[] = {"plain",  "neon",       "avx2",
                                        "avx512", "avx512vnni", "avx512bf16"};
    return names[isa];
}

/* Set once; every thread that races here finds the same value. Negative: not asked yet. */
static atomic_int chosen_isa = -1;

static dn_isa lowered(dn_isa best, const char *name)
{
    for (int isa = DN_ISA_PLAIN; name != NULL && isa < (int)best; ++isa) {
        if (isa == DN_ISA_NEON) continue; /* of another family than those above it */
        if (strcmp(name, dn_isa_name((dn_isa)isa)) == 0) return (dn_isa)isa;
    }
    return best;
}

dn_isa dn_cpu_isa(void)
{
    int isa = atomic_load_explicit(&chosen_isa, memory_order_relaxed);
    if (isa < 0) {
        isa = (int)lowered(best_isa(), getenv("DARKNET_ISA"));
        atomic_store_explicit(&chosen_isa, isa, memory_order_relaxed);
    }
    return (dn_isa)isa;
}

bool dn_test_isa(const char *name)
{
    const dn_isa isa = lowered(best_isa(), name);
    atomic_store_explicit(&chosen_isa, (int)isa, memory_order_relaxed);
    return strcmp(name, dn_isa_name(isa)) == 0;
}
