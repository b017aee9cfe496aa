/* What several ranks that train one network together say to each other: processes under mpirun
 * (parallel.h), or devices of one process, each driven by a thread (ring.h).
 *
 * The images of every update are dealt out to the ranks, each with the whole network; gradients
 * are added up and rolling statistics averaged before the update, so that all have the same network
 * again: all get the same bits. Rank 0 leads: it prints, writes files and validates. A rank that is
 * alone talks to nobody, and nothing here does anything.
 *
 * All ranks must call these functions in the same order. Where one of them may have failed alone,
 * dn_collective_agree comes before any other; behind an agreed failure nothing is communicated any
 * more, so each may call it again on its way out.
 */
#ifndef DN_TRAIN_COLLECTIVE_H
#define DN_TRAIN_COLLECTIVE_H

#include "core/backend.h"

typedef struct dn_collective dn_collective;

enum { DN_COLLECTIVE_DOUBLES = 8 }; /* of one dn_collective_sum */

/* How ranks reach each other: the functions below, without what concerns ranks that are alone. */
typedef struct dn_collective_way {
    const char *ranks; /* what they are: "processes" */
    dn_status (*agree)(dn_collective *peers, dn_status status);
    void (*share)(dn_collective *peers, void *bytes, size_t size);
    void (*sum)(dn_collective *peers, double *values, int32_t count);
    dn_status (*share_block)(dn_collective *peers, const dn_backend *backend, float *block,
                             int64_t count);
    dn_status (*sum_block)(dn_collective *peers, const dn_backend *backend, float *block,
                           int64_t count, bool mean);
} dn_collective_way;

/* One rank's end. */
struct dn_collective {
    const dn_collective_way *way; /* NULL: alone */
    int32_t rank, size;
    void *seat; /* the way's own */
    bool ended; /* a failure was agreed on */
};

dn_collective dn_collective_alone(void);

static inline bool dn_collective_leads(const dn_collective *peers)
{
    return peers->rank == 0;
}

/* DN_OK where all say so; else the failure, or cancellation, of one that does not, with its
 * message. */
dn_status dn_collective_agree(dn_collective *peers, dn_status status);

/* Whether it is true for any of them. */
bool dn_collective_any(dn_collective *peers, bool value);

/* Rank 0's bytes to all. */
void dn_collective_share(dn_collective *peers, void *bytes, size_t size);

/* The sum over all, to all; at most DN_COLLECTIVE_DOUBLES. */
void dn_collective_sum(dn_collective *peers, double *values, int32_t count);

/* The same with floats in a block of a backend: rank 0's to all; the sum or the mean. */
dn_status dn_collective_share_block(dn_collective *peers, const dn_backend *backend, float *block,
                                    int64_t count);
dn_status dn_collective_sum_block(dn_collective *peers, const dn_backend *backend, float *block,
                                  int64_t count);
dn_status dn_collective_mean_block(dn_collective *peers, const dn_backend *backend, float *block,
                                   int64_t count);

#endif
