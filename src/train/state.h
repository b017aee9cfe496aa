/* The training state beside a weights file: what an exact resume needs and weights do not hold.
 *
 * A file of one fixed header (magic, length, stage, seed, iteration, losses, optimizer steps, a
 * hash of the cfg's text and one of the parameters it belongs to) and the optimizer's arrays,
 * closed by a checksum (FNV-1a, 64 bits). Written through a temporary file, synced, renamed. Random
 * numbers need no state: they are functions of (seed, iteration).
 */
#ifndef DN_TRAIN_STATE_H
#define DN_TRAIN_STATE_H

#include "core/optimizer.h"

typedef struct dn_train_state {
    int64_t iteration; /* updates done in this stage */
    double average_loss;
    uint64_t seed;
} dn_train_state;

dn_status dn_state_save(const char *path, const dn_network *network, const dn_optimizer *optimizer,
                        const dn_train_state *state);

/* Fails, and changes nothing, unless the file is whole and was written for this cfg, this stage and
 * the parameters that the network holds now. */
dn_status dn_state_load(const char *path, const dn_network *network, dn_optimizer *optimizer,
                        dn_train_state *state);

#endif
