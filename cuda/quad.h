/* Four floats that are read and written at once: kernels that only move values keep up with the
 * memory that way. Places of quads are multiples of 16 bytes. */
#ifndef DN_CUDA_QUAD_H
#define DN_CUDA_QUAD_H

#include "launch.h"

struct alignas(16) dn_quad {
    float x, y, z, w;
};

static __host__ __device__ inline dn_quad operator+(dn_quad a, dn_quad b)
{
    const dn_quad sum = {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
    return sum;
}

static __host__ __device__ inline dn_quad operator*(dn_quad a, dn_quad b)
{
    const dn_quad product = {a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w};
    return product;
}

static __host__ __device__ inline dn_quad operator*(float a, dn_quad b)
{
    const dn_quad product = {a * b.x, a * b.y, a * b.z, a * b.w};
    return product;
}

static inline bool dn_is_quad_place(const float *values)
{
    return (uintptr_t)values % sizeof(dn_quad) == 0;
}

#endif
