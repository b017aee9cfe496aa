/* Activations over arrays. The switch is taken once an array: each case is a loop of its own that
 * the compiler specialises; those with an exponential have vector forms. See activation.h. */
#include "math/activation_vector.h"
#include "math/cpu.h"

#include <stddef.h>

const char *const dn_activation_names[] = {
#define X(name) #name,
    DN_ACTIVATIONS(X)
#undef X
        NULL,
};

#if defined(__x86_64__)
static bool activate_by_vectors(dn_activation kind, const float *x, float *y, int64_t count)
{
    const dn_isa isa = dn_cpu_isa();
    if (isa >= DN_ISA_AVX512) return dn_activate_array_avx512(kind, x, y, count);
    return isa == DN_ISA_AVX2 && dn_activate_array_avx2(kind, x, y, count);
}

static bool gradient_by_vectors(dn_activation kind, const float *x, float *grad, int64_t count)
{
    const dn_isa isa = dn_cpu_isa();
    if (isa >= DN_ISA_AVX512) return dn_activation_gradient_avx512(kind, x, grad, count);
    return isa == DN_ISA_AVX2 && dn_activation_gradient_avx2(kind, x, grad, count);
}
#else
static bool activate_by_vectors(dn_activation kind, const float *x, float *y, int64_t count)
{
    (void)kind, (void)x, (void)y, (void)count;
    return false;
}

static bool gradient_by_vectors(dn_activation kind, const float *x, float *grad, int64_t count)
{
    return activate_by_vectors(kind, x, grad, count);
}
#endif

void dn_activate_array(dn_activation kind, const float *x, float *y, int64_t count)
{
    if (activate_by_vectors(kind, x, y, count)) return;
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
    if (gradient_by_vectors(kind, x, grad, count)) return;
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
