/* Sums of blocks between devices: see dn_device_sums of core/backend.h. By NCCL (sums_nccl.cu), in
 * builds that have found its header (DN_NCCL); without it the host adds up.
 */
#ifndef DN_CUDA_SUMS_H
#define DN_CUDA_SUMS_H

#include "core/backend.h"

#ifdef DN_NCCL
extern "C" const dn_device_sums dn_nccl_sums;
#define DN_CUDA_SUMS &dn_nccl_sums
#else
#define DN_CUDA_SUMS nullptr
#endif

#endif
