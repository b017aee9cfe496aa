/* Sums in double whose order depends on their length alone. */
#ifndef DN_CUDA_SUMS_H
#define DN_CUDA_SUMS_H

#include "core/status.h"

#include <stdint.h>

/* Floats that dn_cuda_sum needs at `records` for up to `count` records, these included. */
int64_t dn_cuda_sum_floats(int64_t count, int32_t width);

/* sums (width), in host memory, = the sum of records (count, width), in device memory, which are
 * scratch. Waits for the device. */
dn_status dn_cuda_sum(double *records, int64_t count, int32_t width, double *sums);

#endif
