/* Sums of records. See records.h.
 *
 * A step makes one record of DN_FAN: thread g adds records g, g + groups, g + 2 groups, ..., so
 * that neighbours read neighbours. Its results lie behind what it read; steps go on until one
 * record is left.
 */
#include "records.h"

#include "launch.h"

#include <string.h>

enum { DN_FAN = 64 };

static int64_t groups_of(int64_t count)
{
    return (count + DN_FAN - 1) / DN_FAN;
}

int64_t dn_records_floats(int64_t count, int32_t width)
{
    int64_t records = count;
    for (; count > 1; records += count) count = groups_of(count);
    return records * width * (int64_t)(sizeof(double) / sizeof(float));
}

/* out (groups, width) of records (count, width) */
static __global__ void sum_groups(const double *records, int64_t count, int64_t groups,
                                  int32_t width, double *out)
{
    DN_GRID_STRIDE(i, groups * width) {
        double sum = 0.0;
        for (int64_t k = i; k < count * width; k += groups * width) sum += records[k];
        out[i] = sum;
    }
}

dn_status dn_records_sum(double *records, int64_t count, int32_t width, double *sums)
{
    const size_t bytes = (size_t)width * sizeof *sums;
    if (count == 0) {
        memset(sums, 0, bytes);
        return DN_OK;
    }
    while (count > 1) {
        double *out = records + count * width;
        const int64_t groups = groups_of(count);
        DN_LAUNCH(sum_groups, groups * width, records, count, groups, width, out);
        DN_CUDA_TRY(cudaGetLastError());
        records = out;
        count = groups;
    }
    DN_CUDA_TRY(cudaMemcpy(sums, records, bytes, cudaMemcpyDeviceToHost));
    return DN_OK;
}
