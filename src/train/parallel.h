/* Processes that train one network together, started by mpirun (make MPI=1).
 *
 * In a build without MPI, and where mpirun has not started the program, there is one process.
 *
 * Limits: one communicator, that of the program. A process that ends without a word (a crash, a
 * kill) is mpirun's to deal with: it stops the others.
 */
#ifndef DN_TRAIN_PARALLEL_H
#define DN_TRAIN_PARALLEL_H

#include "train/collective.h"

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

/* This process's end of the collective of all; used by one thread. */
dn_collective dn_parallel_peers(void);

#endif
