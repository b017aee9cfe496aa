/* What a task of a chain works on: see chain.h. The tensors between its links, of which a task has
 * some rows at a time, and what chain.c and chain_run.c ask of a link. */
#ifndef DN_BLOCKED_CHAIN_BANDS_H
#define DN_BLOCKED_CHAIN_BANDS_H

#include "blocked/chain_kernels.h"

enum { DN_CHAIN_TAPS = 7 }; /* rows of taps of a depthwise link, at most */

extern const dn_conv_form DN_ISA_NAME(dn_conv_depthwise);

/* Rows of a tensor: a whole one, or some rows in the scratch, where row y lies at y % rows. */
typedef struct dn_chain_band {
    float *data;
    int64_t block;              /* floats from one block of channels to the next */
    int32_t width, pitch, left; /* pixels of a row; from row to row; zeros before each */
    int32_t rows;
    int32_t next; /* rows before this one are there, as far as they are needed */
} dn_chain_band;

/* A task at work: band i is what link i reads, band i + 1 what it writes. */
typedef struct dn_chain_work {
    const dn_chain *chain;
    int32_t image;
    dn_chain_band bands[DN_CHAIN_MOST + 1];
    const float *zeros; /* a row beyond the image */
    float *sums;
} dn_chain_work;

/* Finds places for the bands in the scratch (NULL: nowhere); the floats that they take. */
int64_t DN_ISA_NAME(dn_chain_lay_out)(const dn_chain *chain, float *scratch, dn_chain_work *w);

/* Rows of the last link's output that are made at a time. */
int32_t DN_ISA_NAME(dn_chain_unit)(const dn_chain *chain);

/* Whether a link is a depthwise convolution; else it is a 1x1 one. */
static inline bool dn_chain_is_depthwise(const dn_chain_link *link)
{
    return link->form == &DN_ISA_NAME(dn_conv_depthwise);
}

static inline const dn_conv_problem *dn_chain_problem(const dn_chain *chain, int32_t link)
{
    return &chain->links[link].call->problem;
}

/* Input rows, or columns, between the first and the last tap, both included. */
static inline int32_t dn_chain_reach(const dn_conv_geometry *g)
{
    return (g->size - 1) * g->dilation + 1;
}

#endif
