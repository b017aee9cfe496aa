/* Contours: rings simplified and bridged. See contour.h. */
#include "core/memory.h"
#include "data/contour.h"

#include <string.h>

enum {
    DN_FIRST_CAPACITY = 64,
    DN_RING_MIN = 3,
    DN_PIER_SEARCH_MAX = 16384, /* else the time for a mask of noise would be quadratic */
};

dn_status dn_corners_reserve(dn_corners *corners, int64_t more)
{
    if (corners->count + more <= corners->capacity) return DN_OK;
    int64_t capacity = 2 * corners->capacity + DN_FIRST_CAPACITY;
    if (capacity < corners->count + more) capacity = corners->count + more;
    dn_corner *list = dn_realloc(corners->list, (size_t)corners->count * sizeof *list,
                                 (size_t)capacity * sizeof *list);
    if (!list) return DN_ERROR_MEMORY;
    corners->list = list;
    corners->capacity = capacity;
    return DN_OK;
}

dn_status dn_corners_add(dn_corners *corners, dn_corner corner)
{
    DN_TRY(dn_corners_reserve(corners, 1));
    corners->list[corners->count++] = corner;
    return DN_OK;
}

static double dn_distance_squared(dn_corner a, dn_corner b)
{
    const double x = (double)a.x - b.x, y = (double)a.y - b.y;
    return x * x + y * y;
}

/* From a corner to the segment between two others. */
static double dn_segment_distance_squared(dn_corner corner, dn_corner from, dn_corner to)
{
    const double length_squared = dn_distance_squared(from, to);
    const double x = (double)corner.x - from.x, y = (double)corner.y - from.y;
    const double along = x * ((double)to.x - from.x) + y * ((double)to.y - from.y);
    if (along <= 0) return dn_distance_squared(corner, from);
    if (along >= length_squared) return dn_distance_squared(corner, to);
    const double across = x * ((double)to.y - from.y) - y * ((double)to.x - from.x);
    return across * across / length_squared;
}

/* The corner between from and to (places in a ring of `count`) farthest from their segment. */
static int64_t dn_farthest(const dn_corner *ring, int64_t count, int64_t from, int64_t to,
                           double *distance_squared)
{
    int64_t farthest = from;
    *distance_squared = -1;
    for (int64_t i = from + 1; i < to; i++) {
        const double d = dn_segment_distance_squared(ring[i], ring[from], ring[to % count]);
        if (d > *distance_squared) {
            *distance_squared = d;
            farthest = i;
        }
    }
    return farthest;
}

/* Marks in `keep` the corners that Douglas and Peucker's method leaves; `stack` has room for
 * (count + 1) places. The ring begins and ends at corner 0. */
static int64_t dn_mark(const dn_corner *ring, int64_t count, double tolerance, uint8_t *keep,
                       int64_t *stack)
{
    int64_t kept = 1, top = 0, from = 0;
    keep[0] = 1;
    stack[top++] = count;
    while (top > 0) {
        const int64_t to = stack[top - 1];
        double distance_squared;
        const int64_t middle = dn_farthest(ring, count, from, to, &distance_squared);
        if (distance_squared > tolerance * tolerance) {
            keep[middle] = 1;
            kept++;
            stack[top++] = middle;
        } else {
            from = to;
            top--;
        }
    }
    return kept;
}

dn_status dn_ring_simplify(dn_corners *out, const dn_corner *ring, int64_t count, double tolerance)
{
    DN_TRY(dn_corners_reserve(out, count));
    int64_t kept = 0;
    uint8_t *keep = NULL;
    int64_t *stack = NULL;
    if (tolerance > 0) {
        keep = dn_alloc((size_t)count);
        stack = dn_alloc((size_t)(count + 1) * sizeof *stack);
        if (!keep || !stack) {
            dn_free(keep);
            dn_free(stack);
            return DN_ERROR_MEMORY;
        }
        kept = dn_mark(ring, count, tolerance, keep, stack);
    }
    /* Where nothing with an area would be left, the outline stays as it is. */
    const bool all = kept < DN_RING_MIN;
    for (int64_t i = 0; i < count; i++)
        if (all || keep[i]) out->list[out->count++] = ring[i];
    dn_free(keep);
    dn_free(stack);
    return DN_OK;
}

dn_status dn_ring_bridge(dn_corners *out, const dn_corner *ring, int64_t count)
{
    DN_TRY(dn_corners_reserve(out, count + 2));
    if (out->count == 0) {
        memcpy(out->list, ring, (size_t)count * sizeof *ring);
        out->count = count;
        return DN_OK;
    }
    /* The corner of `out` nearest to the ring's first; in very long rings simply the last. */
    const bool search = out->count <= DN_PIER_SEARCH_MAX;
    int64_t pier = search ? 0 : out->count - 1;
    for (int64_t i = 1; i < out->count && search; i++)
        if (dn_distance_squared(out->list[i], ring[0]) <
            dn_distance_squared(out->list[pier], ring[0]))
            pier = i;

    /* ..., pier, ring[0], ring[1], ..., ring[0], pier, ... */
    dn_corner *gap = out->list + pier + 1;
    memmove(gap + count + 2, gap, (size_t)(out->count - pier - 1) * sizeof *gap);
    memcpy(gap, ring, (size_t)count * sizeof *gap);
    gap[count] = ring[0];
    gap[count + 1] = out->list[pier];
    out->count += count + 2;
    return DN_OK;
}
