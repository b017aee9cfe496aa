/* Matrix product, plain: one row of C at a time, the loop over columns innermost.
 *
 * See gemm.h for the contract.
 */
#include "math/gemm.h"

#include <stddef.h>

int64_t dn_gemm_workspace(const dn_gemm_args *args)
{
    return 64 * (int64_t)args->threads;
}

static void scale_row(float *c, int32_t n, float beta)
{
    if (beta == 0.0f) {
        for (int32_t j = 0; j < n; ++j) c[j] = 0.0f;
    } else if (beta != 1.0f) {
        for (int32_t j = 0; j < n; ++j) c[j] *= beta;
    }
}

static void add_row(const dn_gemm_args *args, int32_t i, float *c)
{
    for (int32_t p = 0; p < args->k; ++p) {
        const ptrdiff_t at =
            args->trans_a ? (ptrdiff_t)p * args->lda + i : (ptrdiff_t)i * args->lda + p;
        const float a = args->alpha * args->a[at];
        const float *b = args->trans_b ? args->b + p : args->b + (ptrdiff_t)p * args->ldb;
        const ptrdiff_t step = args->trans_b ? args->ldb : 1;
        for (int32_t j = 0; j < args->n; ++j) c[j] += a * b[j * step];
    }
}

void dn_gemm(const dn_gemm_args *args)
{
#pragma omp parallel for num_threads(args->threads) schedule(static)
    for (int32_t i = 0; i < args->m; ++i) {
        float *c = args->c + (ptrdiff_t)i * args->ldc;
        scale_row(c, args->n, args->beta);
        add_row(args, i, c);
    }
}
