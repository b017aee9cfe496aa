/* What a GPU is: what cuda/backend.cu puts into its table. */
#ifndef DN_CUDA_DESCRIBE_H
#define DN_CUDA_DESCRIBE_H

#include "core/backend.h"

dn_status dn_cuda_describe(int32_t index, dn_device_info *info);

#endif
