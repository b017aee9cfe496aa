/* A grid of boxes: finds those that may overlap another box by so much, without looking at all.
 *
 * Boxes lie in lists, one for each cell that holds a centre; what is outside of the area belongs to
 * the cells at its edge. Boxes whose IoU is above t have sides whose common part is above t times
 * the longer side. So their centres are at most (1 - t) max(1, 1 / 2t) sides of either box apart,
 * and only cells that near are looked at, whatever the sizes of the others. Bounds are wider than
 * what rounding can change, so that nothing is missed: the caller still computes the IoU.
 */
#ifndef DN_CORE_BOX_GRID_H
#define DN_CORE_BOX_GRID_H

#include "data/geometry.h"

#include <stddef.h>

typedef struct dn_box_grid {
    dn_box *boxes; /* (count), in the order of dn_box_grid_add */
    int32_t count;
    int32_t side;   /* the grid has side x side cells */
    int32_t *next;  /* (count): the next box of the cell, -1: none */
    int32_t *heads; /* (side, side): the last box of the cell */
    float w, h;     /* of the area, from (0, 0) */
    double widest, highest;
} dn_box_grid;

/* Where a search is. */
typedef struct dn_box_search {
    const dn_box_grid *grid;
    int32_t first, last; /* columns */
    int32_t column, row, last_row;
    int32_t box; /* the next of this cell, -1: none */
} dn_box_search;

/* Bytes of memory for `capacity` boxes. */
size_t dn_box_grid_bytes(int32_t capacity);

/* An empty grid over w x h in `memory`, as aligned as a float. */
dn_box_grid dn_box_grid_start(void *memory, int32_t capacity, float w, float h);

/* Adds a box with finite corners; its number is the count before. */
void dn_box_grid_add(dn_box_grid *grid, dn_box box);

/* Starts to look for the boxes whose dn_box_iou with `box` may be above 0 and at least `least`. */
dn_box_search dn_box_grid_search(const dn_box_grid *grid, dn_box box, float least);

/* The number of the next such box, -1: no more. In no order that callers may rely on. */
static inline int32_t dn_box_search_next(dn_box_search *search)
{
    while (search->box < 0) {
        if (++search->column > search->last) {
            if (++search->row > search->last_row) return -1;
            search->column = search->first;
        }
        search->box = search->grid->heads[search->row * search->grid->side + search->column];
    }
    const int32_t found = search->box;
    search->box = search->grid->next[found];
    return found;
}

#endif
