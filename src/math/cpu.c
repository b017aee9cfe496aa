/* Processor features, asked once. See cpu.h. */
#include "math/cpu.h"

#include "darknet.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif
#include <stdatomic.h>
#include <stdio.h>
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

#if defined(__x86_64__) && defined(__GNUC__)
/* The name, 48 characters with blanks around them, and the number of family, model and stepping. */
static void ask_name(char name[64])
{
    unsigned int words[12] = {0}, number[4] = {0};
    for (unsigned int i = 0; i < 3; ++i) {
        unsigned int *w = words + 4 * i;
        if (!__get_cpuid(0x80000002u + i, w, w + 1, w + 2, w + 3)) return;
    }
    __get_cpuid(1, number, number + 1, number + 2, number + 3);
    const char *from = (const char *)words;
    int length = (int)strnlen(from, sizeof words);
    while (length > 0 && *from == ' ') ++from, --length;
    while (length > 0 && from[length - 1] == ' ') --length;
    snprintf(name, 64, "%.*s %x", length, from, number[0]);
}
#else
static void ask_name(char name[64])
{
    (void)name;
}
#endif

const char *dn_cpu_name(void)
{
    static _Thread_local char name[64];
    strcpy(name, "unknown");
    ask_name(name);
    return name;
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
