/* OpenMP's two questions, with their answers in a build without it. */
#ifndef DN_MATH_THREADS_H
#define DN_MATH_THREADS_H

#ifdef _OPENMP
#include <omp.h>

/* Which thread of the innermost parallel region runs: the index of its part of a workspace. */
static inline int dn_thread_number(void)
{
    return omp_get_thread_num();
}

/* Threads of the innermost parallel region. */
static inline int dn_team_size(void)
{
    return omp_get_num_threads();
}

/* As many as a parallel region takes by itself: all cores, or what OMP_NUM_THREADS says. */
static inline int dn_thread_limit(void)
{
    return omp_get_max_threads();
}
#else
static inline int dn_thread_number(void)
{
    return 0;
}

static inline int dn_team_size(void)
{
    return 1;
}

static inline int dn_thread_limit(void)
{
    return 1;
}
#endif

#endif
