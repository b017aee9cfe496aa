/* What bochscpu's library lacks for `make avx512-check`, loaded before it by run_on_bochs.py.
 *
 * It always makes the CPU model Core i3-8121U, whose AVX-512 has neither VNNI nor BF16: the maker
 * of that model is replaced by the one of Sapphire Rapids, which the library holds, too. And it was
 * linked with a C library that has the two functions of C23 below; older ones do without.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

unsigned long long __isoc23_strtoull(const char *text, char **end, int base);
int __isoc23_sscanf(const char *text, const char *format, ...);
void *_Z23create_corei3_cnl_cpuidP8BX_CPU_C(void *cpu);

unsigned long long __isoc23_strtoull(const char *text, char **end, int base)
{
    return strtoull(text, end, base);
}

int __isoc23_sscanf(const char *text, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    const int count = vsscanf(text, format, values);
    va_end(values);
    return count;
}

void *_Z23create_corei3_cnl_cpuidP8BX_CPU_C(void *cpu)
{
    union {
        void *address;
        void *(*function)(void *);
    } make = {dlsym(RTLD_DEFAULT, "_Z28create_sapphire_rapids_cpuidP8BX_CPU_C")};
    if (!make.address) abort();
    return make.function(cpu);
}
