/* Places in one arena: greedy by size, as in XNNPACK's planner. See placement.h.
 *
 * Arrays are placed largest first into the lowest gap that none alive at the same time touches.
 * Sizes are rounded up to 64 bytes, so every array begins at a multiple of that.
 */
#include "core/placement.h"

#include "core/memory.h"

#include <assert.h>
#include <stdlib.h>

enum { DN_PLACE_ALIGN = 16 }; /* floats: 64 bytes */

dn_status dn_placement_create(dn_placement *placement, int32_t capacity)
{
    dn_placed *items = dn_alloc((size_t)capacity * sizeof *items);
    if (!items) return DN_ERROR_MEMORY;
    *placement = (dn_placement){items, 0, capacity};
    return DN_OK;
}

void dn_placement_free(dn_placement *placement)
{
    dn_free(placement->items);
    *placement = (dn_placement){0};
}

void dn_placement_add(dn_placement *placement, float **pointer, int64_t floats, int32_t first,
                      int32_t last)
{
    const int64_t rounded = (floats + DN_PLACE_ALIGN - 1) / DN_PLACE_ALIGN * DN_PLACE_ALIGN;
    const int32_t order = placement->count;
    assert(order < placement->capacity);
    placement->items[order] = (dn_placed){rounded, first, last, order, 0, pointer};
    placement->count++;
}

static int by_size(const void *a, const void *b)
{
    const dn_placed *left = a, *right = b;
    if (left->floats != right->floats) return left->floats > right->floats ? -1 : 1;
    return left->order < right->order ? -1 : 1;
}

static int by_offset(const void *a, const void *b)
{
    const dn_placed *const *left = a, *const *right = b;
    if ((*left)->offset != (*right)->offset) return (*left)->offset < (*right)->offset ? -1 : 1;
    return (*left)->order < (*right)->order ? -1 : 1;
}

/* Finds the place of item i behind those before it; `alive` is scratch for as many pointers. */
static void place(dn_placement *placement, int32_t i, const dn_placed **alive)
{
    dn_placed *item = &placement->items[i];
    int32_t alive_count = 0;
    for (int32_t j = 0; j < i; j++) {
        const dn_placed *other = &placement->items[j];
        if (other->last >= item->first && other->first <= item->last) alive[alive_count++] = other;
    }
    qsort(alive, (size_t)alive_count, sizeof *alive, by_offset);
    int64_t offset = 0;
    for (int32_t j = 0; j < alive_count && alive[j]->offset < offset + item->floats; j++) {
        const int64_t end = alive[j]->offset + alive[j]->floats;
        if (end > offset) offset = end;
    }
    item->offset = offset;
}

dn_status dn_placement_find(dn_placement *placement, int64_t *floats)
{
    const dn_placed **alive = dn_alloc((size_t)placement->capacity * sizeof *alive);
    if (!alive) return DN_ERROR_MEMORY;
    qsort(placement->items, (size_t)placement->count, sizeof *placement->items, by_size);
    *floats = 0;
    for (int32_t i = 0; i < placement->count; i++) {
        place(placement, i, alive);
        const int64_t end = placement->items[i].offset + placement->items[i].floats;
        if (end > *floats) *floats = end;
    }
    dn_free(alive);
    return DN_OK;
}

void dn_placement_point(const dn_placement *placement, float *arena)
{
    for (int32_t i = 0; i < placement->count; i++)
        *placement->items[i].pointer = arena ? arena + placement->items[i].offset : NULL;
}
