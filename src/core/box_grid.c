/* A grid of boxes. See box_grid.h. */
#include "core/box_grid.h"

#include <math.h>

enum { DN_MOST_CELLS = 256 }; /* of a side */

/* About one cell a box: so many that lists are short, so few that empty cells cost little. */
static int32_t side_for(int32_t capacity)
{
    const int32_t side = (int32_t)sqrt((double)capacity) + 1;
    return side < DN_MOST_CELLS ? side : DN_MOST_CELLS;
}

size_t dn_box_grid_bytes(int32_t capacity)
{
    const size_t side = (size_t)side_for(capacity);
    return (size_t)capacity * (sizeof(dn_box) + sizeof(int32_t)) + side * side * sizeof(int32_t);
}

dn_box_grid dn_box_grid_start(void *memory, int32_t capacity, float w, float h)
{
    dn_box_grid grid = {.boxes = memory, .side = side_for(capacity), .w = w, .h = h};
    grid.next = (int32_t *)(grid.boxes + capacity);
    grid.heads = grid.next + capacity;
    for (int32_t i = 0; i < grid.side * grid.side; i++) grid.heads[i] = -1;
    return grid;
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

void dn_box_grid_add(dn_box_grid *grid, dn_box box)
{
    const int32_t row = cell_of(grid, middle(box.y0, box.y1), grid->h);
    int32_t *head = &grid->heads[row * grid->side + cell_of(grid, middle(box.x0, box.x1), grid->w)];
    grid->boxes[grid->count] = box;
    grid->next[grid->count] = *head;
    *head = grid->count++;
    grid->widest = fmax(grid->widest, (double)box.x1 - (double)box.x0);
    grid->highest = fmax(grid->highest, (double)box.y1 - (double)box.y0);
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
    dn_box_search search = {.grid = grid, .box = -1};
    int32_t first_row;
    span(grid, box.x0, box.x1, grid->w, sides, grid->widest, &search.first, &search.last);
    span(grid, box.y0, box.y1, grid->h, sides, grid->highest, &first_row, &search.last_row);
    search.row = first_row;
    search.column = search.first - 1;
    return search;
}
