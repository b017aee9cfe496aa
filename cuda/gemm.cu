/* Matrix products by cuBLAS: see gemm.h.
 *
 * cuBLAS is column-major: a row-major C = A * B is its C' = B' * A', so the operands change places
 * and keep their flags.
 */
#include "gemm.h"

#include "handles.h"

#include <cublas_v2.h>

#define DN_CUBLAS_TRY(call)                                                                        \
    do {                                                                                           \
        const cublasStatus_t dn_cublas_status = (call);                                            \
        if (dn_cublas_status != CUBLAS_STATUS_SUCCESS)                                             \
            return dn_fail(DN_ERROR_DEVICE, "%s:%d: cuBLAS: %s", __FILE__, __LINE__,               \
                           cublasGetStatusString(dn_cublas_status));                               \
    } while (0)

static thread_local dn_handles<cublasHandle_t, cublasDestroy> handles;

static dn_status current_handle(cublasHandle_t *handle)
{
    cublasHandle_t *kept = nullptr;
    DN_TRY(handles.place(&kept));
    if (!*kept) {
        cublasHandle_t made = nullptr;
        DN_CUBLAS_TRY(cublasCreate(&made));
        *kept = made;
        DN_CUBLAS_TRY(cublasSetStream(made, cudaStreamPerThread));
        DN_CUBLAS_TRY(cublasSetMathMode(made, CUBLAS_DEFAULT_MATH)); /* no TF32 */
    }
    *handle = *kept;
    return DN_OK;
}

dn_status dn_cuda_gemm_prepare(void)
{
    cublasHandle_t handle;
    return current_handle(&handle);
}

static cublasOperation_t operation(bool transposed)
{
    return transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
}

/* cuBLAS rounds the factors itself, sums are in float32. */
static cublasComputeType_t compute_type(dn_products products)
{
    return products == DN_PRODUCTS_TF32  ? CUBLAS_COMPUTE_32F_FAST_TF32
           : products == DN_PRODUCTS_F16 ? CUBLAS_COMPUTE_32F_FAST_16F
                                         : CUBLAS_COMPUTE_32F;
}

static dn_status rounded_gemm(const dn_gemm_args *p, dn_products products, int32_t batch,
                              int64_t step_a, int64_t step_b, int64_t step_c)
{
    cublasHandle_t handle;
    DN_TRY(current_handle(&handle));
    DN_CUBLAS_TRY(cublasGemmStridedBatchedEx(
        handle, operation(p->trans_b), operation(p->trans_a), p->n, p->m, p->k, &p->alpha, p->b,
        CUDA_R_32F, p->ldb, step_b, p->a, CUDA_R_32F, p->lda, step_a, &p->beta, p->c, CUDA_R_32F,
        p->ldc, step_c, batch, compute_type(products), CUBLAS_GEMM_DEFAULT));
    return DN_OK;
}

dn_status dn_cuda_gemm(const dn_gemm_args *args, dn_products products)
{
    const dn_gemm_args *p = args;
    cublasHandle_t handle;
    if (p->m == 0 || p->n == 0) return DN_OK;
    if (products != DN_PRODUCTS_F32) return rounded_gemm(p, products, 1, 0, 0, 0);
    DN_TRY(current_handle(&handle));
    DN_CUBLAS_TRY(cublasSgemm(handle, operation(p->trans_b), operation(p->trans_a), p->n, p->m,
                              p->k, &p->alpha, p->b, p->ldb, p->a, p->lda, &p->beta, p->c, p->ldc));
    return DN_OK;
}

dn_status dn_cuda_gemm_batched(const dn_gemm_args *args, dn_products products, int32_t batch,
                               int64_t step_a, int64_t step_b, int64_t step_c)
{
    const dn_gemm_args *p = args;
    cublasHandle_t handle;
    if (batch == 1) return dn_cuda_gemm(args, products);
    if (batch == 0 || p->m == 0 || p->n == 0) return DN_OK;
    if (products != DN_PRODUCTS_F32)
        return rounded_gemm(p, products, batch, step_a, step_b, step_c);
    DN_TRY(current_handle(&handle));
    DN_CUBLAS_TRY(cublasSgemmStridedBatched(handle, operation(p->trans_b), operation(p->trans_a),
                                            p->n, p->m, p->k, &p->alpha, p->b, p->ldb, step_b, p->a,
                                            p->lda, step_a, &p->beta, p->c, p->ldc, step_c, batch));
    return DN_OK;
}
