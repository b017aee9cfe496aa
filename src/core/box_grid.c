/* A grid of boxes. See box_grid.h. */
#include "core/box_grid.h"

#include <math.h>
#include <string.h>

enum { DN_MOST_CELLS = 256 }; /* of a side */

/* About four boxes a cell. */
static int32_t side_for(int32_t count)
{
    const int32_t side = (int32_t)(0.5 * sqrt((double)count)) + 1;
    return side < DN_MOST_CELLS ? side : DN_MOST_CELLS;
}

size_t dn_box_grid_bytes(int32_t count)
{
    const size_t side = (size_t)side_for(count);
    return (side * side + 2 * (size_t)count) * sizeof(int32_t);
}

/* The column (or row) of a coordinate. Never falls where the coordinate rises. */
static int32_t cell_of(const dn_box_grid *grid, double at, float size)
{
    const double cell = at / (double)size * grid->side;
    if (!(cell > 0.0)) return 0;
    return cell < grid->side ? (int32_t)cell : grid->side - 1;
}

static double middle(float low, float high)
{
    return 0.5 * ((double)low + (double)high);
}

static int32_t cell_of_box(const dn_box_grid *grid, dn_box box)
{
    return cell_of(grid, middle(box.y0, box.y1), grid->h) * grid->side +
           cell_of(grid, middle(box.x0, box.x1), grid->w);
}

/* A counting sort: ends[c] holds how many boxes a cell has, then where they begin, and is moved on
 * to their end while they are placed. */
dn_box_grid dn_box_grid_make(void *memory, const dn_box *boxes, int32_t count, float w, float h)
{
    dn_box_grid grid = {.side = side_for(count), .ends = memory, .w = w, .h = h};
    const int32_t cells = grid.side * grid.side;
    grid.order = grid.ends + cells;
    grid.place = grid.order + count;
    memset(grid.ends, 0, (size_t)cells * sizeof *grid.ends);
    for (int32_t i = 0; i < count; i++) {
        grid.place[i] = cell_of_box(&grid, boxes[i]);
        grid.ends[grid.place[i]]++;
        grid.widest = fmax(grid.widest, (double)boxes[i].x1 - (double)boxes[i].x0);
        grid.highest = fmax(grid.highest, (double)boxes[i].y1 - (double)boxes[i].y0);
    }
    int32_t begin = 0;
    for (int32_t c = 0; c < cells; c++) {
        const int32_t here = grid.ends[c];
        grid.ends[c] = begin;
        begin += here;
    }
    for (int32_t i = 0; i < count; i++) {
        grid.place[i] = grid.ends[grid.place[i]]++;
        grid.order[grid.place[i]] = i;
    }
    return grid;
}

/* Columns (or rows) of the centres that are at most `sides` sides from this one's. */
static void span(const dn_box_grid *grid, float low, float high, float size, double sides,
                 double longest, int32_t *first, int32_t *last)
{
    const double centre = middle(low, high), own = (double)high - (double)low;
    const double touching = 0.5 * (own + longest);
    const double near = fmin(sides * own, touching);
    const double reach = near + 1e-9 * (1.0 + fabs(centre));
    *first = cell_of(grid, centre - reach, size);
    *last = cell_of(grid, centre + reach, size);
}

dn_box_search dn_box_grid_search(const dn_box_grid *grid, dn_box box, float least)
{
    const double t = 0.99999 * (double)least; /* the computed IoU may be rounded up */
    const bool accurate = t > 1e-6 && dn_box_area(box) > 1e-30f;
    const double sides = accurate ? (1.0 - t) * fmax(1.0, 0.5 / t) : (double)INFINITY;
    dn_box_search search = {.grid = grid};
    span(grid, box.x0, box.x1, grid->w, sides, grid->widest, &search.first, &search.last);
    span(grid, box.y0, box.y1, grid->h, sides, grid->highest, &search.row, &search.last_row);
    return search;
}
