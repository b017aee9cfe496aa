/* Matrix products on CUDA: cuBLAS, on the calling thread's default stream; in true float32, or with
 * factors rounded for tensor cores where a network says so (dn_products).
 *
 * The arguments are the CPU's (math/gemm.h), row-major, with arrays in device memory; threads and
 * workspace are not read. Every thread has a cuBLAS handle of its own a device, made on first use
 * and destroyed with the thread; cuBLAS keeps a workspace of some MiB with it. With one stream a
 * handle, the same call gives the same bits.
 */
#ifndef DN_CUDA_GEMM_H
#define DN_CUDA_GEMM_H

#include "core/status.h"
#include "math/gemm.h"

/* Makes this thread's handle for the current device, so that no product has to. */
dn_status dn_cuda_gemm_prepare(void);

dn_status dn_cuda_gemm(const dn_gemm_args *args, dn_products products);

/* `batch` products of the same sizes, whose arrays lie step_a, step_b and step_c floats apart; a
 * step of 0 is one array for all (not of C). */
dn_status dn_cuda_gemm_batched(const dn_gemm_args *args, dn_products products, int32_t batch,
                               int64_t step_a, int64_t step_b, int64_t step_c);

#endif
