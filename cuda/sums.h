/* Sums of blocks between devices (dn_device_sums of core/backend.h): by NCCL in sums_nccl.cu or, in
 * builds that have not found it, by nobody: the Makefile picks sums_nccl.cu or sums_without.cu.
 */
#ifndef DN_CUDA_SUMS_H
#define DN_CUDA_SUMS_H

#include "core/backend.h"

extern "C" const dn_device_sums dn_cuda_sums;

#endif
