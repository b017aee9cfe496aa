/* What the element bodies in math/ need to compile under gcc as C11 and under nvcc as C++17. */
#ifndef DN_MATH_PORTABLE_H
#define DN_MATH_PORTABLE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __CUDACC__
#define DN_HD static __host__ __device__ inline
#else
#define DN_HD static inline
#endif

#endif
