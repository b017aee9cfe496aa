/* Seconds of a clock that only goes forward: for measuring, not for telling the time. */
#ifndef DN_MATH_CLOCK_H
#define DN_MATH_CLOCK_H

#include <time.h>

static inline double dn_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

#endif
