/* Activations of single values and of quads, so that kernels can be written once for both. */
#ifndef DN_CUDA_ACTIVATION_H
#define DN_CUDA_ACTIVATION_H

#include "math/activation.h"
#include "quad.h"

static __device__ inline float dn_activated(dn_activation kind, float in)
{
    return dn_activate(kind, in);
}

static __device__ inline dn_quad dn_activated(dn_activation kind, dn_quad in)
{
    const dn_quad out = {dn_activate(kind, in.x), dn_activate(kind, in.y), dn_activate(kind, in.z),
                         dn_activate(kind, in.w)};
    return out;
}

static __device__ inline float dn_slope(dn_activation kind, float in, float out)
{
    return dn_activation_gradient(kind, in, out);
}

static __device__ inline dn_quad dn_slope(dn_activation kind, dn_quad in, dn_quad out)
{
    const dn_quad slope = {
        dn_activation_gradient(kind, in.x, out.x), dn_activation_gradient(kind, in.y, out.y),
        dn_activation_gradient(kind, in.z, out.z), dn_activation_gradient(kind, in.w, out.w)};
    return slope;
}

#endif
