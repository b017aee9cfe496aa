/* A grid of boxes: finds those that may overlap another box by so much, without looking at all.
 *
 * Boxes are ordered by the cells that hold their centres, row by row; what is outside of the area
 * belongs to the cells at its edge. Boxes whose IoU is above t have sides whose common part is
 * above t times the longer side. So their centres are at most (1 - t) max(1, 1 / 2t) sides of
 * either box apart, and only cells that near are looked at, whatever the sizes of the others: one
 * run of the order in each row of cells. Bounds are wider than what rounding can change, so that
 * nothing is missed: the caller still computes the IoU.
 */
#ifndef DN_CORE_BOX_GRID_H
#define DN_CORE_BOX_GRID_H

#include "data/geometry.h"

#include <stddef.h>

typedef struct dn_box_grid {
    int32_t side;   /* the grid has side x side cells */
    int32_t *ends;  /* (side, side): where the cell's boxes end in the order, the next begin */
    int32_t *order; /* (count): numbers of boxes */
    int32_t *place; /* (count): of a box in the order */
    float w, h;     /* of the area, from (0, 0) */
    double widest, highest;
} dn_box_grid;

/* Where a search is. */
typedef struct dn_box_search {
    const dn_box_grid *grid;
    int32_t first, last; /* columns */
    int32_t row, last_row;
} dn_box_search;

/* Bytes of memory for `count` boxes. */
size_t dn_box_grid_bytes(int32_t count);

/* Orders boxes with finite corners over w x h, in `memory`, aligned as an int32_t. The boxes
 * are not kept. */
dn_box_grid dn_box_grid_make(void *memory, const dn_box *boxes, int32_t count, float w, float h);

/* Starts to look for the boxes whose dn_box_iou with `box` may be above 0 and at least `least`. */
dn_box_search dn_box_grid_search(const dn_box_grid *grid, dn_box box, float least);

/* The next run of the order that may hold such boxes, begin..end-1; false: no more. */
static inline bool dn_box_search_next(dn_box_search *search, int32_t *begin, int32_t *end)
{
    if (search->row > search->last_row) return false;
    const dn_box_grid *grid = search->grid;
    const int32_t cells = search->row++ * grid->side, first = cells + search->first;
    *begin = first > 0 ? grid->ends[first - 1] : 0;
    *end = grid->ends[cells + search->last];
    return true;
}

#endif
