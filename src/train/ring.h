/* Ranks that are threads of one process, each with a network on a device of its own.
 *
 * Blocks are added up as on a ring of machines, with host memory between: each rank copies a piece
 * of its block out, adds up one part of it over all ranks, in the order of ranks (reduce-scatter),
 * and takes every part of the sum from the rank that made it (all-gather). Whichever threads come
 * first, the sum is the same, and the same bits for all. Where the backend adds blocks up between
 * devices by itself (dn_device_sums), that can be used instead.
 *
 * A rank that fails breaks the ring: whoever waits, or comes later, gets its failure, so that no
 * thread waits for one that has gone, wherever it went.
 */
#ifndef DN_TRAIN_RING_H
#define DN_TRAIN_RING_H

#include "train/collective.h"

typedef struct dn_ring dn_ring;

enum { DN_RING_SIZE = 64 }; /* ranks at most */

dn_status dn_ring_create(int32_t size, dn_ring **out);

/* Lets the devices (size) add up blocks by themselves: fails where they cannot, and the host does
 * it as before. */
dn_status dn_ring_link(dn_ring *ring, const dn_device_sums *sums, const int32_t *devices);

/* The end of a rank, to be used by one thread; `name` is what others' errors call it and must
 * outlive the ring. */
dn_collective dn_ring_peers(dn_ring *ring, int32_t rank, const char *name);

/* By the rank's thread, the last thing that it does here. */
void dn_ring_leave(dn_ring *ring, int32_t rank);

/* Ends it for all with what went wrong outside: a thread that could not be started. */
void dn_ring_break(dn_ring *ring, dn_status status);

/* When no thread uses it any more. NULL is allowed. */
void dn_ring_free(dn_ring *ring);

#endif
