/* How the direct form cuts a problem: rows of output pixels, pairs of channel vectors, chunks of
 * input channels, tasks. All of it follows from the problem alone.
 *
 * A task copies the input rows that it reads, with zeros on both sides, into its scratch, so that
 * no tile meets a border; without padding it reads in place. A 1x1 convolution without stride and
 * padding has no rows: its pixels are cut into pieces that are taken for rows, and copied where the
 * filters are many, because blocks at the distance of a plane share few lines of a cache.
 */
#ifndef DN_BLOCKED_CONV_CUT_H
#define DN_BLOCKED_CONV_CUT_H

#include "blocked/conv_form.h"
#include "blocked/conv_tile.h"

typedef struct dn_conv_cut {
    int32_t rows, width, last_width; /* output rows, their pixels; those of the last row */
    int32_t in_w;                    /* pixels from one input row to the next, before copying */
    bool flat, copies;
    int32_t window_w;                  /* pixels from one copied row to the next */
    int32_t in_blocks, vectors, pairs; /* of one group */
    int32_t chunk;                     /* input channel blocks between two visits to the sums */
    int32_t task_rows, row_tasks;
    int32_t task_items, item_tasks; /* items: pairs of all groups */
    bool items_outside; /* tasks of the same weights follow each other, else those of a window */
} dn_conv_cut;

dn_conv_cut DN_ISA_NAME(dn_conv_cut_of)(const dn_conv_problem *problem);

/* Input rows that task_rows output rows read. */
static inline int32_t dn_conv_cut_in_rows(const dn_conv_problem *problem, int32_t rows)
{
    const dn_conv_geometry *g = &problem->geometry;
    return (rows - 1) * g->stride_y + (g->size - 1) * g->dilation + 1;
}

#endif
