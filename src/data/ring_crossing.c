/* Does a polygon cross itself?
 *
 * Two edges cross where each has its ends on different sides of the other. Edges are sorted by
 * their lower ends in x or in y, where they are shorter together, and each is compared with those
 * that begin before it ends: n log n, and the square of n only where most edges overlap. No outline
 * of a thing is like that; what was made to be is given up after some seconds.
 */
#include "core/memory.h"
#include "data/check.h"

#include <math.h>
#include <stdlib.h>

static const int64_t most_comparisons = 200000000; /* all pairs of 20,000 edges */

typedef struct dn_edge {
    double low, high;  /* along the axis that is swept */
    double a[2], b[2]; /* ends */
} dn_edge;

static int compare_edges(const void *first, const void *second)
{
    const dn_edge *a = first, *b = second;
    return a->low < b->low ? -1 : a->low > b->low;
}

/* Side of the line a, b on which p lies: -1, 1, or 0 where it lies on the line but for rounding. */
static int side(const double *a, const double *b, const double *p)
{
    const double left = (b[0] - a[0]) * (p[1] - a[1]), right = (b[1] - a[1]) * (p[0] - a[0]);
    const double difference = left - right;
    if (fabs(difference) <= 1e-12 * (fabs(left) + fabs(right))) return 0;
    return difference > 0.0 ? 1 : -1;
}

static bool cross(const dn_edge *s, const dn_edge *t)
{
    return side(s->a, s->b, t->a) * side(s->a, s->b, t->b) < 0 &&
           side(t->a, t->b, s->a) * side(t->a, t->b, s->b) < 0;
}

static void crossing_point(const dn_edge *s, const dn_edge *t, double point[2])
{
    const double ux = s->b[0] - s->a[0], uy = s->b[1] - s->a[1];
    const double vx = t->b[0] - t->a[0], vy = t->b[1] - t->a[1];
    const double share =
        ((t->a[0] - s->a[0]) * vy - (t->a[1] - s->a[1]) * vx) / (ux * vy - uy * vx);
    point[0] = s->a[0] + share * ux;
    point[1] = s->a[1] + share * uy;
}

/* 0: x, 1: y: in which direction are the edges shorter? */
static int shorter_axis(const double *xy, int64_t count)
{
    double lengths[2] = {0, 0};
    for (int64_t i = 0; i < 2 * count; i++)
        lengths[i % 2] += fabs(xy[i] - xy[(i + 2) % (2 * count)]);
    return lengths[1] < lengths[0];
}

static void list_edges(const double *xy, int64_t count, dn_edge *edges)
{
    const int axis = shorter_axis(xy, count);
    for (int64_t i = 0; i < count; i++) {
        const double *a = xy + 2 * i, *b = xy + 2 * ((i + 1) % count);
        edges[i] =
            (dn_edge){fmin(a[axis], b[axis]), fmax(a[axis], b[axis]), {a[0], a[1]}, {b[0], b[1]}};
    }
    qsort(edges, (size_t)count, sizeof *edges, compare_edges);
}

static dn_ring_verdict search(const dn_edge *edges, int64_t count, double point[2])
{
    int64_t left = most_comparisons;
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = i + 1; k < count && edges[k].low <= edges[i].high; k++) {
            if (left-- == 0) return DN_RING_UNKNOWN;
            if (!cross(&edges[i], &edges[k])) continue;
            crossing_point(&edges[i], &edges[k], point);
            return DN_RING_CROSSES;
        }
    return DN_RING_SIMPLE;
}

dn_status dn_ring_crossing(const double *xy, int64_t count, dn_ring_verdict *verdict,
                           double point[2])
{
    dn_edge *edges = dn_alloc((size_t)count * sizeof *edges);
    if (!edges) return DN_ERROR_MEMORY;
    list_edges(xy, count, edges);
    *verdict = search(edges, count, point);
    dn_free(edges);
    return DN_OK;
}
