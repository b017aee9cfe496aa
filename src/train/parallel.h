/* Several processes that train one network together, started by mpirun (make MPI=1).
 *
 * The images of every update are dealt out to the processes, each with the whole network; gradients
 * are added up and rolling statistics averaged before the update, so that all have the same network
 * again. Process 0 leads: it prints, writes files and validates. In a build without MPI, and where
 * mpirun has not started the program, there is one process, and nothing here does anything.
 *
 * All processes must call dn_parallel_agree, _any, _share, _sum and those of blocks in the same
 * order. Where one of them may have failed alone, dn_parallel_agree comes before any other; behind
 * an agreed failure nothing is communicated any more, so each may call it again on its way out.
 *
 * Limits: one communicator, that of the program. A process that ends without a word (a crash, a
 * kill) is mpirun's to deal with: it stops the others.
 */
#ifndef DN_TRAIN_PARALLEL_H
#define DN_TRAIN_PARALLEL_H

#include "core/backend.h"

/* Joins the other processes that mpirun has started; called once, by the program. */
dn_status dn_parallel_start(void);
void dn_parallel_stop(void);

int32_t dn_parallel_rank(void);
int32_t dn_parallel_size(void);
int32_t dn_parallel_local_rank(void); /* among those of this machine */
static inline bool dn_parallel_leads(void)
{
    return dn_parallel_rank() == 0;
}

/* DN_OK where all say so; else the failure, or cancellation, of the first process that does not,
 * with its message. */
dn_status dn_parallel_agree(dn_status status);

/* Whether it is true for any of them. */
bool dn_parallel_any(bool value);

/* Process 0's bytes to all. */
void dn_parallel_share(void *bytes, size_t size);

/* The sum over all, to all. */
void dn_parallel_sum(double *values, int32_t count);

/* The same with floats in a block of a backend: process 0's to all; the sum times `factor`. */
dn_status dn_parallel_share_block(const dn_backend *backend, float *block, int64_t count);
dn_status dn_parallel_sum_block(const dn_backend *backend, float *block, int64_t count,
                                float factor);

#endif
