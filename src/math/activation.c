/* Activations over arrays. The switch is taken once an array: each case is a loop of its own that
 * the compiler specialises. See activation.h. */
#include "math/activation.h"

#include <stddef.h>

const char *const dn_activation_names[] = {
#define X(name) #name,
    DN_ACTIVATIONS(X)
#undef X
        NULL,
};

void dn_activate_array(dn_activation kind, const float *x, float *y, int64_t count)
{
    switch (kind) {
#define X(name)                                                                                    \
    case DN_ACTIVATION_##name:                                                                     \
        for (int64_t i = 0; i < count; i++) y[i] = dn_activate(DN_ACTIVATION_##name, x[i]);        \
        break;
        DN_ACTIVATIONS(X)
#undef X
    }
}

void dn_activation_gradient_array(dn_activation kind, const float *x, const float *y, float *grad,
                                  int64_t count)
{
    if (!x) x = y;
    switch (kind) {
#define X(name)                                                                                    \
    case DN_ACTIVATION_##name:                                                                     \
        for (int64_t i = 0; i < count; i++)                                                        \
            grad[i] *= dn_activation_gradient(DN_ACTIVATION_##name, x[i], y[i]);                   \
        break;
        DN_ACTIVATIONS(X)
#undef X
    }
}
