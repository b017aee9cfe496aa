/* Which thread of the innermost parallel region runs: the index of its part of a workspace. */
#ifndef DN_MATH_THREADS_H
#define DN_MATH_THREADS_H

#ifdef _OPENMP
#include <omp.h>

static inline int dn_thread_number(void)
{
    return omp_get_thread_num();
}
#else
static inline int dn_thread_number(void)
{
    return 0;
}
#endif

#endif
