/* The state of a training: one file that holds all an exact resume needs.
 *
 * A fixed header (magic, length, a hash of the cfg, the position), then named arrays of floats: the
 * parameters of all layers and whatever the optimizer keeps (its moments, the moving average of the
 * weights), closed by a checksum. It is written under a temporary name, flushed to the disk and
 * renamed, so that a file of this name is whole, whenever the process was killed. Random numbers
 * need no state: they are functions of (seed, iteration). The arrays go through host memory: a file
 * does not know on which device its training ran. Byte by byte: docs/formats.md.
 */
#ifndef DN_TRAIN_STATE_H
#define DN_TRAIN_STATE_H

#include "core/optimizer.h"

/* What was summed up since the last line of results.csv. */
typedef struct dn_train_sums {
    double loss, mask_iou;
    int64_t iterations, rois;
} dn_train_sums;

/* The position of a training. Lies in the file as it is: words of 64 bits, no padding. */
typedef struct dn_train_state {
    int64_t stage;     /* dn_stage */
    int64_t iteration; /* updates done in this stage */
    int64_t earlier;   /* updates done in the stages before */
    int64_t steps;     /* the optimizer's; set by dn_state_save */
    int64_t images;    /* of the data set */
    uint64_t seed;
    uint64_t seen; /* set by dn_state_save, as the version words of the weights file */
    int64_t version[3];
    double average_loss; /* negative: none yet */
    int64_t validated;   /* iteration of the stage's last validation; 0: none */
    int64_t stale;       /* validations since the best one */
    double last, best;   /* AP of the last and of the best validation; negative: none */
    double best_box_ap;  /* of the best one: decides between equal ones (of a classifier: top 5) */
    dn_train_sums sums;
} dn_train_state;

dn_status dn_state_save(const char *path, const dn_network *network, dn_optimizer *optimizer,
                        const dn_train_state *state);

/* A file that was read and found whole. */
typedef struct dn_state_file {
    char *path, *bytes; /* owned */
    dn_train_state state;
} dn_state_file;

/* Fails unless the file is whole. Closed with dn_state_close. */
dn_status dn_state_open(const char *path, dn_state_file *file);
void dn_state_close(dn_state_file *file);

/* Fails unless the file was written for this cfg; what says how long a training lasts, and where
 * its data are, may differ. */
dn_status dn_state_check_cfg(const dn_state_file *file, const dn_cfg *cfg);

/* Puts parameters, `seen` and optimizer back. Fails, and changes nothing, where the arrays do not
 * fit. */
dn_status dn_state_apply(const dn_state_file *file, dn_network *network, dn_optimizer *optimizer);

#endif
