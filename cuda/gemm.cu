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

dn_status dn_cuda_gemm(const dn_gemm_args *args)
{
    const dn_gemm_args *p = args;
    cublasHandle_t handle;
    if (p->m == 0 || p->n == 0) return DN_OK;
    DN_TRY(current_handle(&handle));
    DN_CUBLAS_TRY(cublasSgemm(handle, operation(p->trans_b), operation(p->trans_a), p->n, p->m,
                              p->k, &p->alpha, p->b, p->ldb, p->a, p->lda, &p->beta, p->c, p->ldc));
    return DN_OK;
}

dn_status dn_cuda_gemm_batched(const dn_gemm_args *args, int32_t batch, int64_t step_a,
                               int64_t step_b, int64_t step_c)
{
    const dn_gemm_args *p = args;
    cublasHandle_t handle;
    if (batch == 1) return dn_cuda_gemm(args);
    if (batch == 0 || p->m == 0 || p->n == 0) return DN_OK;
    DN_TRY(current_handle(&handle));
    DN_CUBLAS_TRY(cublasSgemmStridedBatched(handle, operation(p->trans_b), operation(p->trans_a),
                                            p->n, p->m, p->k, &p->alpha, p->b, p->ldb, step_b, p->a,
                                            p->lda, step_a, &p->beta, p->c, p->ldc, step_c, batch));
    return DN_OK;
}
