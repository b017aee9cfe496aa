/* Contours: the edges of a mask followed. See contour.h. */
#include "data/contour.h"

#include "core/memory.h"

#include <math.h>
#include <string.h>

/* Ways to walk along pixel edges, clockwise on the screen. */
typedef enum dn_way {
    DN_EAST,
    DN_SOUTH,
    DN_WEST,
    DN_NORTH,
} dn_way;

enum { DN_FIRST_CAPACITY = 64 };

enum {
    DN_INSIDE = 1, /* a pixel of the mask */
    DN_WALKED = 2, /* its upper edge belongs to a ring already */
};

/* An outline, by places in dn_tracer.corners. */
typedef struct dn_ring {
    int64_t begin, end;
    bool is_hole;
    int64_t parent; /* holes: the outer ring; while they are looked for, the next one to the left */
    int64_t inmost; /* holes: the pixel left of the leftmost edge */
    int64_t first_hole, next; /* outer rings: their holes; holes: the next of the same parent */
} dn_ring;

typedef struct dn_tracer {
    int32_t left, top;     /* of the mask's bounding box in the image */
    int64_t width, height; /* of that box with a border of one pixel */
    uint8_t *pixels;       /* (height, width) */
    int32_t *west_rings;   /* (height, width): the ring of a pixel's left edge */
    dn_corners corners;
    dn_ring *rings;
    int64_t ring_count, ring_capacity;
} dn_tracer;

static dn_status dn_tracer_make(dn_tracer *tracer, const dn_rle *mask)
{
    int32_t box[4];
    dn_rle_bounds(mask, box);
    *tracer = (dn_tracer){.left = box[0] - 1,
                          .top = box[1] - 1,
                          .width = (int64_t)box[2] + 2,
                          .height = (int64_t)box[3] + 2};
    const size_t pixels = (size_t)tracer->width * (size_t)tracer->height;
    tracer->pixels = dn_alloc(pixels);
    tracer->west_rings = dn_alloc(pixels * sizeof *tracer->west_rings);
    if (!tracer->pixels || !tracer->west_rings) return DN_ERROR_MEMORY;

    const uint32_t height = (uint32_t)mask->height;
    uint32_t position = 0;
    for (int64_t i = 0; i < mask->run_count; position += mask->runs[i++]) {
        if (i % 2 == 0) continue;
        int64_t x = (int64_t)(position / height), y = (int64_t)(position % height);
        for (uint32_t left = mask->runs[i]; left > 0; left--) {
            tracer->pixels[(y - tracer->top) * tracer->width + x - tracer->left] = DN_INSIDE;
            if (++y == mask->height) {
                y = 0;
                x++;
            }
        }
    }
    return DN_OK;
}

static void dn_tracer_free(dn_tracer *tracer)
{
    dn_free(tracer->pixels);
    dn_free(tracer->west_rings);
    dn_free(tracer->corners.list);
    dn_free(tracer->rings);
}

static dn_status dn_new_ring(dn_tracer *tracer, dn_ring ring)
{
    if (tracer->ring_count == tracer->ring_capacity) {
        const int64_t capacity = 2 * tracer->ring_capacity + DN_FIRST_CAPACITY;
        dn_ring *rings = dn_realloc(tracer->rings, (size_t)tracer->ring_count * sizeof *rings,
                                    (size_t)capacity * sizeof *rings);
        if (!rings) return DN_ERROR_MEMORY;
        tracer->rings = rings;
        tracer->ring_capacity = capacity;
    }
    tracer->rings[tracer->ring_count++] = ring;
    return DN_OK;
}

static dn_corner dn_corner_at(const dn_tracer *tracer, int64_t place)
{
    return (dn_corner){.x = (int32_t)(place % tracer->width) + tracer->left,
                       .y = (int32_t)(place / tracer->width) + tracer->top};
}

/* Follows the ring that begins with the upper edge of the pixel at `start`. A corner has the place
 * of the pixel to its lower right. */
static dn_status dn_walk(dn_tracer *tracer, int64_t start)
{
    const int64_t width = tracer->width;
    const int64_t step[4] = {1, width, -1, -width};
    /* From a corner to the pixel on the right of the edge that leaves it; the pixel on the
     * left of that edge is on the right of the edge a quarter turn to the left. */
    const int64_t right[4] = {0, -1, -1 - width, -width};
    dn_ring ring = {.begin = tracer->corners.count, .inmost = -1, .first_hole = -1, .next = -1};
    int64_t place = start, area = 0, leftmost = width;
    dn_way way = DN_EAST;
    DN_TRY(dn_corners_add(&tracer->corners, dn_corner_at(tracer, place)));
    for (;;) {
        const int64_t pixel = place + right[way];
        if (way == DN_EAST) tracer->pixels[pixel] |= DN_WALKED;
        if (way == DN_NORTH) tracer->west_rings[pixel] = (int32_t)tracer->ring_count;
        if (way == DN_EAST) area -= place / width;
        if (way == DN_WEST) area += place / width;
        if (way == DN_SOUTH && place % width < leftmost) {
            leftmost = place % width;
            ring.inmost = pixel;
        }
        place += step[way];
        const dn_way left_turn = (dn_way)((way + 3) % 4), right_turn = (dn_way)((way + 1) % 4);
        const dn_way before = way;
        if (tracer->pixels[place + right[left_turn]] & DN_INSIDE)
            way = left_turn;
        else if (!(tracer->pixels[place + right[way]] & DN_INSIDE))
            way = right_turn;
        if (place == start && way == DN_EAST) break;
        if (way != before) DN_TRY(dn_corners_add(&tracer->corners, dn_corner_at(tracer, place)));
    }
    ring.end = tracer->corners.count;
    ring.is_hole = area < 0;
    return dn_new_ring(tracer, ring);
}

static dn_status dn_trace(dn_tracer *tracer)
{
    const int64_t end = tracer->width * (tracer->height - 1);
    for (int64_t place = tracer->width; place < end; place++) {
        if (tracer->pixels[place] == DN_INSIDE &&
            !(tracer->pixels[place - tracer->width] & DN_INSIDE))
            DN_TRY(dn_walk(tracer, place));
    }
    return DN_OK;
}

/* Gives every hole its outer ring and every outer ring the list of its holes. */
static void dn_find_parents(dn_tracer *tracer)
{
    dn_ring *rings = tracer->rings;
    for (int64_t i = 0; i < tracer->ring_count; i++) {
        if (!rings[i].is_hole) continue;
        int64_t pixel = rings[i].inmost;
        while (tracer->pixels[pixel - 1] & DN_INSIDE) pixel--;
        rings[i].parent = tracer->west_rings[pixel];
    }
    for (int64_t i = tracer->ring_count - 1; i >= 0; i--) {
        if (!rings[i].is_hole) continue;
        int64_t parent = rings[i].parent;
        while (rings[parent].is_hole) parent = rings[parent].parent;
        rings[i].parent = parent;
        rings[i].next = rings[parent].first_hole;
        rings[parent].first_hole = i;
    }
}

/* ---- what the caller gets ---- */

/* Closes the ring that the points since the last one form. */
static void dn_close_ring(dn_contours *contours, int64_t point_count, int64_t parent)
{
    contours->parents[contours->ring_count++] = (int32_t)parent;
    contours->starts[contours->ring_count] = point_count;
}

/* Every ring on its own, holes by their parents. */
static dn_status dn_write_rings(const dn_tracer *tracer, double tolerance, dn_corners *points,
                                dn_contours *contours)
{
    for (int64_t i = 0; i < tracer->ring_count; i++) {
        const dn_ring *ring = &tracer->rings[i];
        DN_TRY(dn_ring_simplify(points, tracer->corners.list + ring->begin, ring->end - ring->begin,
                                tolerance));
        dn_close_ring(contours, points->count, ring->is_hole ? ring->parent : -1);
    }
    return DN_OK;
}

static dn_status dn_add_bridged(const dn_tracer *tracer, const dn_ring *ring, double tolerance,
                                dn_corners *joined)
{
    dn_corners simple = {0};
    dn_status status = dn_ring_simplify(&simple, tracer->corners.list + ring->begin,
                                        ring->end - ring->begin, tolerance);
    if (status == DN_OK) status = dn_ring_bridge(joined, simple.list, simple.count);
    dn_free(simple.list);
    return status;
}

/* One ring a part, or, where `single`, one ring in all; holes and parts are bridged. */
static dn_status dn_write_joined(const dn_tracer *tracer, double tolerance, bool single,
                                 dn_corners *points, dn_contours *contours)
{
    dn_corners joined = {0};
    dn_status status = DN_OK;
    for (int64_t i = 0; i < tracer->ring_count; i++) {
        if (tracer->rings[i].is_hole) continue;
        DN_TRY_GOTO(dn_add_bridged(tracer, &tracer->rings[i], tolerance, &joined));
        for (int64_t h = tracer->rings[i].first_hole; h >= 0; h = tracer->rings[h].next)
            DN_TRY_GOTO(dn_add_bridged(tracer, &tracer->rings[h], tolerance, &joined));
        if (single) continue;
        DN_TRY_GOTO(dn_ring_simplify(points, joined.list, joined.count, 0));
        dn_close_ring(contours, points->count, -1);
        joined.count = 0;
    }
    if (single && joined.count > 0) {
        DN_TRY_GOTO(dn_ring_simplify(points, joined.list, joined.count, 0));
        dn_close_ring(contours, points->count, -1);
    }
done:
    dn_free(joined.list);
    return status;
}

void dn_contours_free(dn_contours *contours)
{
    if (!contours) return;
    dn_free(contours->starts);
    dn_free(contours->parents);
    dn_free(contours->points);
    *contours = (dn_contours){0};
}

dn_status dn_rle_contours(dn_contours *out, const dn_rle *mask, dn_contour_mode mode,
                          double tolerance)
{
    if (!(tolerance >= 0 && isfinite(tolerance)))
        return dn_fail(DN_ERROR_ARGUMENT, "contours: tolerance %g is not a number of pixels >= 0",
                       tolerance);
    dn_contours contours = {0};
    dn_corners points = {0};
    dn_tracer tracer;
    dn_status status = dn_tracer_make(&tracer, mask);
    if (status == DN_OK) status = dn_trace(&tracer);
    if (status != DN_OK) goto done;
    dn_find_parents(&tracer);
    contours.starts = dn_alloc((size_t)(tracer.ring_count + 1) * sizeof *contours.starts);
    contours.parents = dn_alloc((size_t)tracer.ring_count * sizeof *contours.parents);
    if (!contours.starts || !contours.parents) {
        status = DN_ERROR_MEMORY;
        goto done;
    }
    if (mode == DN_CONTOUR_RINGS)
        status = dn_write_rings(&tracer, tolerance, &points, &contours);
    else
        status = dn_write_joined(&tracer, tolerance, mode == DN_CONTOUR_SINGLE, &points, &contours);
    if (status == DN_OK && !points.list) status = dn_corners_reserve(&points, 1);
done:
    dn_tracer_free(&tracer);
    if (status == DN_OK) {
        contours.points = (int32_t *)points.list;
        *out = contours;
    } else {
        dn_free(points.list);
        dn_contours_free(&contours);
    }
    return status;
}
