/* Runs of values that are copied or added from one tensor to another. */
#ifndef DN_CUDA_MOVE_H
#define DN_CUDA_MOVE_H

#include "core/backend.h"

/* `part` values in every image: `from` and `to` are the first image's, the steps lead to the next
 * one's. */
typedef struct dn_run {
    const float *from;
    float *to;
    int64_t part, from_step, to_step;
} dn_run;

dn_status dn_cuda_copy(dn_run run, int64_t images); /* to = from */
dn_status dn_cuda_add(dn_run run, int64_t images);  /* to += from */

/* All of `count` values. */
static inline dn_run dn_whole(const float *from, float *to, int64_t count)
{
    const dn_run run = {from, to, count, count, count};
    return run;
}

#endif
