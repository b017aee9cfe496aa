/* The optimizer's arithmetic on CUDA: what cuda/backend.cu puts into its table. */
#ifndef DN_CUDA_OPTIMIZER_H
#define DN_CUDA_OPTIMIZER_H

#include "core/backend.h"

dn_status dn_cuda_update(const dn_update *update, int32_t threads);
dn_status dn_cuda_square_sum(const float *values, int64_t count, int32_t threads, void *scratch,
                             double *sum);

#endif
