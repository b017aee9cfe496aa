/* Matrix product: C = alpha * op(A) * op(B) + beta * C, float32, row-major.
 *
 * Blocked and packed as in Goto and van de Geijn, "Anatomy of High-Performance Matrix
 * Multiplication" (ACM TOMS 34, 2008). The sum over k runs in one fixed order, so the result
 * depends on the instruction set but not on the number of threads. Nothing is allocated: the
 * caller brings a workspace.
 */
#ifndef DN_MATH_GEMM_H
#define DN_MATH_GEMM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct dn_gemm_args {
    bool trans_a, trans_b;
    int32_t m, n, k;
    float alpha;
    const float *a; /* (m, k) with rows lda apart; (k, m) where trans_a */
    int32_t lda;
    const float *b; /* (k, n) with rows ldb apart; (n, k) where trans_b */
    int32_t ldb;
    float beta; /* 0: C is written without being read, so it may hold anything */
    float *c;   /* (m, n) with rows ldc apart */
    int32_t ldc;
    int32_t threads;  /* at least 1 */
    float *workspace; /* (dn_gemm_workspace(args)), not shared with a call that runs meanwhile */
} dn_gemm_args;

/* How many floats dn_gemm needs at `workspace` for these sizes, flags and threads (the pointers
 * are not looked at). Never falls when m, n, k or threads grow. */
int64_t dn_gemm_workspace(const dn_gemm_args *args);

/* Computes the product. m, n or k may be 0; C overlaps neither A, B nor the workspace. */
void dn_gemm(const dn_gemm_args *args);

#endif
