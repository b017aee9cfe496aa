/* Sums of records: of a few numbers in double, which each thread of a kernel leaves. Their order
 * depends on their number alone. (Sums of values by blocks: sum.h.) */
#ifndef DN_CUDA_RECORDS_H
#define DN_CUDA_RECORDS_H

#include "core/status.h"

#include <stdint.h>

/* Floats that dn_records_sum needs at `records` for up to `count` records, these included. */
int64_t dn_records_floats(int64_t count, int32_t width);

/* sums (width), in host memory, = the sum of records (count, width), in device memory, which are
 * scratch. Waits for the device. */
dn_status dn_records_sum(double *records, int64_t count, int32_t width, double *sums);

#endif
