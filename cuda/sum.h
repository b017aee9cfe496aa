/* Sums over many values in double, by blocks, in one order whatever the GPU.
 *
 * Method: the values are cut into parts by their number alone. A block adds one part, every thread
 * its stride of it, then the threads' sums in a tree; the parts are added by whoever finishes the
 * sum, a thread (dn_parts_sum) or a block. No atomics.
 */
#ifndef DN_CUDA_SUM_H
#define DN_CUDA_SUM_H

#include "launch.h"

/* Values of a part, at least: 16 a thread. */
#ifndef DN_SUM_PART
#define DN_SUM_PART 4096
#endif

/* In how many parts each of `sums` sums of `count` values is cut: enough blocks for the largest
 * GPU, few enough parts for one thread to add. */
static inline int32_t dn_sum_parts(int64_t sums, int64_t count)
{
    const int64_t blocks = 2048, most = 128;
    const int64_t wanted = (blocks + sums - 1) / sums, possible = count / DN_SUM_PART;
    const int64_t parts = wanted < possible ? wanted : possible;
    return (int32_t)(parts < 1 ? 1 : parts > most ? most : parts);
}

/* Part `part` of `parts` of values 0..count-1: [begin, end). */
static __device__ inline int64_t dn_part_begin(int64_t count, int32_t parts, int32_t part)
{
    return count / parts * part + (part < count % parts ? part : count % parts);
}

/* The sum of `value` over the block's threads; all call it, thread 0 gets it, the others 0. */
static __device__ inline double dn_block_sum(double value)
{
    __shared__ double sums[DN_BLOCK];
    const unsigned t = threadIdx.x;
    __syncthreads(); /* the sum before may still be read */
    sums[t] = value;
    for (unsigned live = blockDim.x; live > 1; live = (live + 1) / 2) {
        __syncthreads();
        if (t < live / 2) sums[t] += sums[t + (live + 1) / 2];
    }
    return t == 0 ? sums[0] : 0.0; /* the others would read while thread 0 writes */
}

/* Adds the parts of sum `index` by one thread: parts lie `step` apart, those of one sum side by
 * side. */
static __device__ inline double dn_parts_sum(const double *sums, int64_t index, int32_t parts,
                                             int32_t step)
{
    double total = 0.0;
    for (int32_t part = 0; part < parts; part++) total += sums[(index * parts + part) * step];
    return total;
}

/* The same by a block, as dn_block_sum. */
static __device__ inline double dn_block_parts_sum(const double *sums, int64_t index, int32_t parts,
                                                   int32_t step)
{
    double own = 0.0;
    for (int32_t part = (int32_t)threadIdx.x; part < parts; part += (int32_t)blockDim.x)
        own += sums[(index * parts + part) * step];
    return dn_block_sum(own);
}

#endif
