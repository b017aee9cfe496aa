/* As much of cuBLAS as cuda/ uses, as plain loops on the CPU: see cuda_runtime.h. Matrices are
 * column-major, as there; sums are in double. */
#ifndef DN_TESTS_HOST_CUBLAS_H
#define DN_TESTS_HOST_CUBLAS_H

#include "cuda_runtime.h"
#include "rounding.h"

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS, CUBLAS_STATUS_INVALID_VALUE };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasMath_t { CUBLAS_DEFAULT_MATH };
enum cublasComputeType_t {
    CUBLAS_COMPUTE_32F,
    CUBLAS_COMPUTE_32F_FAST_TF32,
    CUBLAS_COMPUTE_32F_FAST_16F
};
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT };
enum cudaDataType_t { CUDA_R_32F };
typedef struct dn_host_cublas *cublasHandle_t;

static inline cublasStatus_t cublasCreate(cublasHandle_t *handle)
{
    *handle = reinterpret_cast<cublasHandle_t>(1 + (size_t)dn_host_current());
    return CUBLAS_STATUS_SUCCESS;
}

static inline cublasStatus_t cublasDestroy(cublasHandle_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

static inline cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

static inline cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

static inline const char *cublasGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "no error" : "a handle of another device";
}

static inline cublasStatus_t dn_host_gemm(cublasHandle_t handle, cublasOperation_t op_a,
                                          cublasOperation_t op_b, int m, int n, int k,
                                          const float *alpha, const float *a, int lda,
                                          const float *b, int ldb, const float *beta, float *c,
                                          int ldc, dn_host_rounding rounding)
{
    const long step_i = op_a == CUBLAS_OP_N ? 1 : lda, step_a = op_a == CUBLAS_OP_N ? lda : 1;
    if (handle != reinterpret_cast<cublasHandle_t>(1 + (size_t)dn_host_current()))
        return CUBLAS_STATUS_INVALID_VALUE;
    dn_host_drain();
    const dn_host_access open;
    const long step_b = op_b == CUBLAS_OP_N ? 1 : ldb, step_j = op_b == CUBLAS_OP_N ? ldb : 1;
    for (long j = 0; j < n; j++) {
        for (long i = 0; i < m; i++) {
            double sum = 0.0;
            for (long p = 0; p < k; p++)
                sum += dn_host_rounded(a[i * step_i + p * step_a], rounding) *
                       dn_host_rounded(b[p * step_b + j * step_j], rounding);
            float *to = c + i + j * ldc;
            *to = *alpha * (float)sum + (*beta == 0.0f ? 0.0f : *beta * *to);
        }
    }
    return CUBLAS_STATUS_SUCCESS;
}

static inline cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t op_a,
                                         cublasOperation_t op_b, int m, int n, int k,
                                         const float *alpha, const float *a, int lda,
                                         const float *b, int ldb, const float *beta, float *c,
                                         int ldc)
{
    return dn_host_gemm(handle, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc,
                        DN_HOST_FULL);
}

static inline cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
    const void *alpha, const void *a, cudaDataType_t, int lda, long long step_a, const void *b,
    cudaDataType_t, int ldb, long long step_b, const void *beta, void *c, cudaDataType_t, int ldc,
    long long step_c, int batch, cublasComputeType_t compute, cublasGemmAlgo_t)
{
    const dn_host_rounding rounding = compute == CUBLAS_COMPUTE_32F_FAST_TF32  ? DN_HOST_TF32
                                      : compute == CUBLAS_COMPUTE_32F_FAST_16F ? DN_HOST_HALF
                                                                               : DN_HOST_FULL;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    for (int i = 0; i < batch && status == CUBLAS_STATUS_SUCCESS; i++)
        status = dn_host_gemm(handle, op_a, op_b, m, n, k, static_cast<const float *>(alpha),
                              static_cast<const float *>(a) + i * step_a, lda,
                              static_cast<const float *>(b) + i * step_b, ldb,
                              static_cast<const float *>(beta),
                              static_cast<float *>(c) + i * step_c, ldc, rounding);
    return status;
}

static inline cublasStatus_t
cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                          int m, int n, int k, const float *alpha, const float *a, int lda,
                          long long step_a, const float *b, int ldb, long long step_b,
                          const float *beta, float *c, int ldc, long long step_c, int batch)
{
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    for (int i = 0; i < batch && status == CUBLAS_STATUS_SUCCESS; i++)
        status = cublasSgemm(handle, op_a, op_b, m, n, k, alpha, a + i * step_a, lda,
                             b + i * step_b, ldb, beta, c + i * step_c, ldc);
    return status;
}

#endif
