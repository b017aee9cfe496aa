/* Chains: 1x1 and depthwise convolutions behind each other, computed together, band by band.
 *
 * An inverted residual block widens its few channels sixfold, filters each and narrows them again.
 * Layer by layer the wide tensors go through memory, and threads meet behind each layer. A chain
 * makes a few rows of its output at a time, for these the rows of the tensor before that they need,
 * and so on (fused layers: Alwani et al. 2016): what lies between is a ring of rows in the thread's
 * scratch, which the second cache holds. A task is a band of output rows; bands compute the rows
 * that several of them read more than once, with the same result.
 */
#ifndef DN_BLOCKED_CHAIN_H
#define DN_BLOCKED_CHAIN_H

#include "blocked/conv_form.h"

enum { DN_CHAIN_MOST = 4 };

/* A convolution of a chain. Its form packs its weights; of a call only what the first reads and
 * what the last writes and adds has tensors. */
typedef struct dn_chain_link {
    const dn_conv_form *form;
    const dn_conv_call *call;
} dn_chain_link;

typedef struct dn_chain {
    dn_chain_link links[DN_CHAIN_MOST];
    int32_t length;
    int32_t task_rows, row_tasks; /* of a task; of an image: set by `tasks` */
} dn_chain;

#endif
