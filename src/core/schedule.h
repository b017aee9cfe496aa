/* The learning rate of an iteration: Darknet's policies and cosine (docs/cfg-reference.md, [net]).
 *
 * Iterations count weight updates from 1, as Darknet does: the k-th update of a run sees k.
 */
#ifndef DN_CORE_SCHEDULE_H
#define DN_CORE_SCHEDULE_H

#include "core/net_options.h"

typedef struct dn_schedule {
    dn_policy policy;
    float learning_rate, learning_rate_min;
    float power, scale, gamma, sgdr_mult;
    int32_t burn_in, max_batches, step, sgdr_cycle;
    dn_ints steps;    /* borrowed from the net options */
    dn_floats scales; /* as many as steps */
    uint64_t seed;    /* of policy random */
} dn_schedule;

/* The schedule of the mask stage (mask_* keys) or of all others. Steps without as many scales, or
 * no max_batches, are DN_ERROR_CONFIG. */
dn_status dn_schedule_make(const dn_net_options *net, bool mask_stage, uint64_t seed,
                           dn_schedule *out);

float dn_schedule_rate(const dn_schedule *schedule, int64_t iteration);

#endif
