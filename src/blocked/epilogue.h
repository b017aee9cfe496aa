/* What every form of the convolution does with a vector of its sums: f2(f1(sum + shift) + add). */
#ifndef DN_BLOCKED_EPILOGUE_H
#define DN_BLOCKED_EPILOGUE_H

#include "blocked/vector.h"
#include "math/activation.h"

/* f(x). The switch is the same at every call of a convolution, so it costs next to nothing. */
DN_INLINE dn_vec dn_vec_activate(dn_activation kind, dn_vec x)
{
    if (kind == DN_ACTIVATION_linear) return x;
    if (kind == DN_ACTIVATION_leaky) return dn_vec_max(x, x * dn_vec_set(0.1f));
    if (kind == DN_ACTIVATION_relu) return dn_vec_max(x, dn_vec_set(0.0f));
    float values[DN_LANES];
    dn_vec_store(values, x);
    dn_activate_array(kind, values, values, DN_LANES);
    return dn_vec_load(values);
}

/* add: NULL where nothing is added. */
DN_INLINE dn_vec dn_epilogue(dn_vec sum, dn_vec shift, dn_activation activation, const float *add,
                             dn_activation after_add)
{
    const dn_vec x = dn_vec_activate(activation, sum + shift);
    return add ? dn_vec_activate(after_add, x + dn_vec_load(add)) : x;
}

#endif
