/* Polygons to masks, pixel for pixel as COCO's own tool draws them.
 *
 * Every ring is drawn by the even-odd rule on its own, then the rings are united, as COCO does with
 * the rings of one object. Rings may cross themselves, leave the image and be given closed or open.
 *
 * Method (COCO's, restated). Vertices go to a grid five times as fine, x' = trunc(5 x + .5). The
 * edge between two of them is the set of grid points that the longer of its two extents steps
 * through, the other coordinate rounded. A pixel column k owns the step from x' = 5k + 2 to 5k + 3,
 * the one around its centre: each time the outline makes it, in either direction, the column
 * changes between outside and inside at row ceil((y' + .5) / 5 - .5), y' the upper of the two
 * points, cut to 0..height. We compute those steps only, so a vertex far outside costs nothing.
 * Limits: coordinates up to 2e8 pixels, where COCO's integers end.
 */
#include "core/memory.h"
#include "data/rle.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

static const double DN_FINENESS = 5.0;
static const double DN_COORDINATE_MAX = 2e8;

enum {
    DN_CENTRE = 2, /* column k is crossed between the fine columns 5k + 2 and 5k + 3 */
    DN_STEP = 5,
    DN_FIRST_CAPACITY = 256,
    DN_POINTS_MIN = 3,
};

typedef struct dn_vertex {
    int64_t x, y; /* on the fine grid */
} dn_vertex;

/* The pixels, counted column-major, at which the outline changes a column between outside and
 * inside. */
typedef struct dn_crossings {
    int32_t height, width;
    int64_t count, capacity;
    uint32_t *positions;
} dn_crossings;

static dn_status dn_cross(dn_crossings *crossings, int64_t column, int64_t fine_y)
{
    if (crossings->count == crossings->capacity) {
        const int64_t capacity = crossings->capacity ? 2 * crossings->capacity : DN_FIRST_CAPACITY;
        uint32_t *positions =
            dn_realloc(crossings->positions, (size_t)crossings->count * sizeof *positions,
                       (size_t)capacity * sizeof *positions);
        if (!positions) return DN_ERROR_MEMORY;
        crossings->positions = positions;
        crossings->capacity = capacity;
    }
    double row = ((double)fine_y + 0.5) / DN_FINENESS - 0.5;
    if (row < 0) row = 0;
    if (row > crossings->height) row = crossings->height;
    crossings->positions[crossings->count++] =
        (uint32_t)column * (uint32_t)crossings->height + (uint32_t)ceil(row);
    return DN_OK;
}

/* The edge's shorter extent after t steps of its longer one. */
static inline int64_t dn_along(int64_t start, double slope, int64_t t)
{
    return (int64_t)((double)start + slope * (double)t + 0.5);
}

/* The pixel columns inside the image whose centre step lies within fine columns low..high. */
static void dn_columns(const dn_crossings *crossings, int64_t low, int64_t high, int64_t *first,
                       int64_t *last)
{
    *first = low <= DN_CENTRE ? 0 : (low - DN_CENTRE + DN_STEP - 1) / DN_STEP;
    *last = high <= DN_CENTRE ? -1 : (high - DN_CENTRE - 1) / DN_STEP;
    if (*last > crossings->width - 1) *last = crossings->width - 1;
}

/* An edge at least as wide as high, a left of b. */
static dn_status dn_cross_flat(dn_crossings *crossings, dn_vertex a, dn_vertex b)
{
    if (a.x == b.x) return DN_OK; /* a single point */
    const double slope = (double)(b.y - a.y) / (double)(b.x - a.x);
    int64_t first, last;
    dn_columns(crossings, a.x, b.x, &first, &last);
    for (int64_t column = first; column <= last; column++) {
        const int64_t t = column * DN_STEP + DN_CENTRE - a.x;
        const int64_t left = dn_along(a.y, slope, t), right = dn_along(a.y, slope, t + 1);
        DN_TRY(dn_cross(crossings, column, left < right ? left : right));
    }
    return DN_OK;
}

/* An edge higher than wide, a above b. Rounding is monotone, so the step that enters a column's far
 * side is found by bisection. */
static dn_status dn_cross_steep(dn_crossings *crossings, dn_vertex a, dn_vertex b)
{
    const int64_t steps = b.y - a.y;
    const double slope = (double)(b.x - a.x) / (double)steps;
    const int64_t start = dn_along(a.x, slope, 0), end = dn_along(a.x, slope, steps);
    const bool rightward = start < end;
    int64_t first, last;
    dn_columns(crossings, rightward ? start : end, rightward ? end : start, &first, &last);
    for (int64_t column = first; column <= last; column++) {
        const int64_t centre = column * DN_STEP + DN_CENTRE;
        int64_t before = 0, after = steps; /* t on the near side, t on the far side */
        while (after - before > 1) {
            const int64_t middle = before + (after - before) / 2;
            const bool is_right = dn_along(a.x, slope, middle) > centre;
            if (is_right == rightward)
                after = middle;
            else
                before = middle;
        }
        DN_TRY(dn_cross(crossings, column, a.y + before));
    }
    return DN_OK;
}

static dn_status dn_cross_edge(dn_crossings *crossings, dn_vertex a, dn_vertex b)
{
    const bool flat = llabs(b.x - a.x) >= llabs(b.y - a.y);
    const bool backward = flat ? a.x > b.x : a.y > b.y;
    const dn_vertex from = backward ? b : a, to = backward ? a : b;
    return flat ? dn_cross_flat(crossings, from, to) : dn_cross_steep(crossings, from, to);
}

static dn_status dn_fine(const double *ring, int64_t point, int64_t ring_index, dn_vertex *out)
{
    const double x = ring[2 * point], y = ring[2 * point + 1];
    if (!(fabs(x) <= DN_COORDINATE_MAX && fabs(y) <= DN_COORDINATE_MAX))
        return dn_fail(
            DN_ERROR_DATA,
            "polygon: point %lld of ring %lld is (%g, %g); coordinates must be finite and "
            "within +-%g",
            (long long)point, (long long)ring_index, x, y, DN_COORDINATE_MAX);
    out->x = (int64_t)(DN_FINENESS * x + 0.5);
    out->y = (int64_t)(DN_FINENESS * y + 0.5);
    return DN_OK;
}

static dn_status dn_cross_ring(dn_crossings *crossings, const double *ring, int64_t point_count,
                               int64_t ring_index)
{
    if (point_count < DN_POINTS_MIN)
        return dn_fail(DN_ERROR_DATA, "polygon: ring %lld has %lld points, needed are at least %d",
                       (long long)ring_index, (long long)point_count, DN_POINTS_MIN);
    dn_vertex first, from, to;
    DN_TRY(dn_fine(ring, 0, ring_index, &first));
    from = first;
    for (int64_t i = 1; i < point_count; i++, from = to) {
        DN_TRY(dn_fine(ring, i, ring_index, &to));
        DN_TRY(dn_cross_edge(crossings, from, to));
    }
    return dn_cross_edge(crossings, from, first);
}

/* Radix sort, a byte a pass: its time does not depend on how an outline zigzags. */
static dn_status dn_sort(uint32_t *values, int64_t count)
{
    uint32_t *sorted = dn_alloc((size_t)count * sizeof *sorted);
    if (!sorted) return DN_ERROR_MEMORY;
    for (int shift = 0; shift < 32; shift += 8) {
        int64_t starts[257] = {0};
        for (int64_t i = 0; i < count; i++) starts[((values[i] >> shift) & 255) + 1]++;
        for (int byte = 0; byte < 256; byte++) starts[byte + 1] += starts[byte];
        for (int64_t i = 0; i < count; i++)
            sorted[starts[(values[i] >> shift) & 255]++] = values[i];
        uint32_t *swap = values;
        values = sorted;
        sorted = swap;
    }
    /* Four passes: the result is back in the caller's array. */
    dn_free(sorted);
    return DN_OK;
}

static dn_status dn_draw_ring(dn_rle *out, const dn_crossings *crossings)
{
    assert(crossings->count % 2 == 0); /* an outline is closed */
    dn_rle_builder builder;
    DN_TRY(dn_rle_begin(&builder, crossings->height, crossings->width));
    dn_status status = DN_OK;
    for (int64_t i = 0; i < crossings->count && status == DN_OK; i += 2)
        status = dn_rle_append(&builder, crossings->positions[i], crossings->positions[i + 1]);
    return dn_rle_finish(&builder, status, out);
}

dn_status dn_rle_from_polygons(dn_rle *out, const double *const *rings, const int64_t *point_counts,
                               int64_t ring_count, int32_t height, int32_t width)
{
    DN_TRY(dn_rle_check_size("polygon", height, width));
    if (ring_count < 1) return dn_fail(DN_ERROR_DATA, "polygon: no ring");
    dn_crossings crossings = {.height = height, .width = width};
    dn_rle *masks = dn_alloc((size_t)ring_count * sizeof *masks);
    if (!masks) return DN_ERROR_MEMORY;

    dn_status status = DN_OK;
    for (int64_t i = 0; i < ring_count; i++) {
        crossings.count = 0;
        DN_TRY_GOTO(dn_cross_ring(&crossings, rings[i], point_counts[i], i));
        DN_TRY_GOTO(dn_sort(crossings.positions, crossings.count));
        DN_TRY_GOTO(dn_draw_ring(&masks[i], &crossings));
    }
    status = dn_rle_merge(out, masks, ring_count, DN_MASK_UNION);
done:
    dn_rles_free(masks, ring_count);
    dn_free(crossings.positions);
    return status;
}
