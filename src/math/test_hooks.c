/* The kernels behind plain functions, for tests and benchmarks: allocate, run, time, free. */
#include "core/memory.h"
#include "math/gemm.h"

#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double dn_test_gemm(const dn_test_gemm_args *args, const float *a, const float *b, float *c)
{
    dn_gemm_args gemm = {
        .trans_a = args->trans_a,
        .trans_b = args->trans_b,
        .m = args->m,
        .n = args->n,
        .k = args->k,
        .alpha = args->alpha,
        .a = a,
        .lda = args->lda,
        .b = b,
        .ldb = args->ldb,
        .beta = args->beta,
        .c = c,
        .ldc = args->ldc,
        .threads = args->threads,
    };
    gemm.workspace = dn_alloc((size_t)dn_gemm_workspace(&gemm) * sizeof(float));
    if (gemm.workspace == NULL) return -1.0;
    const double start = now();
    dn_gemm(&gemm);
    const double seconds = now() - start;
    dn_free(gemm.workspace);
    return seconds;
}
