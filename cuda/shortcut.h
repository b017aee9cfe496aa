/* What the kernels of [shortcut] share on CUDA: the tensors that are added, and their learned
 * factors. */
#ifndef DN_CUDA_SHORTCUT_H
#define DN_CUDA_SHORTCUT_H

#include "layers/shortcut.h"
#include "place.h"

typedef struct dn_shape {
    int32_t c, h, w;
} dn_shape;

/* One of the tensors that are added. */
typedef struct dn_addend {
    float *values; /* (n, c, h, w): data or gradient, or NULL */
    int32_t c;
    bool same; /* shape as the output: an element's partner has its index */
    dn_overlap overlap;
    float factor;
    const float *factors; /* (columns) in place of `factor`, or NULL */
    int32_t columns;
} dn_addend;

/* Index of element i's partner in the addend's tensor; -1: none. */
static __device__ inline int64_t partner(const dn_addend *addend, dn_shape shape, int64_t i)
{
    if (addend->same) return i;
    const dn_overlap *o = &addend->overlap;
    const dn_place at = dn_place_of(i, shape.w, shape.h);
    const int64_t n = at.map / shape.c, c = at.map - n * shape.c;
    const int32_t source = dn_overlap_source(o, (int32_t)c, at.y, at.x);
    return source < 0 ? -1 : (n * addend->c + c) * o->h * o->w + source;
}

/* The layer's k-th input; `values` are its data or its gradient. */
dn_addend dn_shortcut_addend(const dn_layer *layer, const dn_pass *pass, int32_t k, float *values);

/* ---- shortcut_weights.cu: learned factors; all may be called where there are none ---- */

/* Floats of workspace that they need. */
int64_t dn_shortcut_workspace(const dn_layer *layer);

/* (inputs, columns), filled by dn_shortcut_find_factors; NULL without learned ones. */
float *dn_shortcut_factors(const dn_layer *layer, const dn_pass *pass);
dn_status dn_shortcut_find_factors(const dn_layer *layer, const dn_pass *pass);

/* The weights' gradient += what the output's, behind the activation, makes of it. */
dn_status dn_shortcut_add_weight_gradient(const dn_layer *layer, const dn_pass *pass);

#endif
