/* Anchors by k-means: see anchors.h. */
#include "data/anchors.h"

#include "core/memory.h"
#include "core/rng.h"

#include <stdlib.h>
#include <string.h>

enum { DN_RESTARTS = 10, DN_ROUNDS_MAX = 200 };

typedef struct dn_clusters {
    const dn_size *boxes; /* (box_count) */
    int64_t box_count;
    int32_t count;
    dn_size *centres, *sums; /* (count) */
    int64_t *members;        /* (count) */
    double *distances;       /* (box_count): to the nearest centre */
} dn_clusters;

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

static double distance(dn_size a, dn_size b)
{
    const double shared = smaller(a.width, b.width) * smaller(a.height, b.height);
    return 1.0 - shared / (a.width * a.height + b.width * b.height - shared);
}

/* Uniform in [0, 1), 53 bits. */
static double draw(dn_rng *rng)
{
    return (double)(dn_rng_next(rng) >> 11) * 0x1p-53;
}

/* A box at random, with a chance that grows with its distance. */
static int64_t draw_box(const dn_clusters *clusters, dn_rng *rng)
{
    double total = 0.0;
    for (int64_t i = 0; i < clusters->box_count; i++) total += clusters->distances[i];
    double left = draw(rng) * total;
    for (int64_t i = 0; i < clusters->box_count; i++) {
        left -= clusters->distances[i];
        if (left < 0.0) return i;
    }
    return (int64_t)(draw(rng) * (double)clusters->box_count); /* all lie on centres */
}

static void choose_centres(dn_clusters *clusters, dn_rng *rng)
{
    for (int64_t i = 0; i < clusters->box_count; i++) clusters->distances[i] = 1.0;
    for (int32_t k = 0; k < clusters->count; k++) {
        clusters->centres[k] = clusters->boxes[draw_box(clusters, rng)];
        for (int64_t i = 0; i < clusters->box_count; i++)
            clusters->distances[i] =
                smaller(clusters->distances[i], distance(clusters->boxes[i], clusters->centres[k]));
    }
}

/* Gives every box to its nearest centre; the mean IoU. */
static double assign(dn_clusters *clusters)
{
    double total = 0.0;
    memset(clusters->sums, 0, (size_t)clusters->count * sizeof *clusters->sums);
    memset(clusters->members, 0, (size_t)clusters->count * sizeof *clusters->members);
    for (int64_t i = 0; i < clusters->box_count; i++) {
        const dn_size box = clusters->boxes[i];
        int32_t best = 0;
        double nearest = distance(box, clusters->centres[0]);
        for (int32_t k = 1; k < clusters->count; k++) {
            const double other = distance(box, clusters->centres[k]);
            if (other >= nearest) continue;
            nearest = other;
            best = k;
        }
        clusters->members[best]++;
        clusters->sums[best].width += box.width;
        clusters->sums[best].height += box.height;
        clusters->distances[i] = nearest;
        total += nearest;
    }
    return 1.0 - total / (double)clusters->box_count;
}

/* Moves the centres to the means of their boxes; one without boxes to a box that is far off. */
static bool move_centres(dn_clusters *clusters, dn_rng *rng)
{
    bool moved = false;
    for (int32_t k = 0; k < clusters->count; k++) {
        const double members = (double)clusters->members[k];
        dn_size centre = {clusters->sums[k].width / members, clusters->sums[k].height / members};
        if (clusters->members[k] == 0) centre = clusters->boxes[draw_box(clusters, rng)];
        moved = moved || centre.width != clusters->centres[k].width ||
                centre.height != clusters->centres[k].height;
        clusters->centres[k] = centre;
    }
    return moved;
}

static int compare_areas(const void *left, const void *right)
{
    const dn_size *a = left, *b = right;
    const double first = a->width * a->height, second = b->width * b->height;
    if (first != second) return first < second ? -1 : 1;
    return (a->width > b->width) - (a->width < b->width);
}

/* One run; keeps what is better than *best, also on the way, since means do not always gain. */
static void run(dn_clusters *clusters, dn_rng *rng, dn_size *anchors, double *best)
{
    choose_centres(clusters, rng);
    for (int round = 0; round < DN_ROUNDS_MAX; round++) {
        const double iou = assign(clusters);
        if (iou > *best) {
            *best = iou;
            memcpy(anchors, clusters->centres, (size_t)clusters->count * sizeof *anchors);
        }
        if (!move_centres(clusters, rng)) return;
    }
}

dn_status dn_anchors_find(const dn_size *boxes, int64_t box_count, int32_t count, uint64_t seed,
                          dn_size *anchors, double *average_iou)
{
    if (count < 1 || box_count < count)
        return dn_fail(DN_ERROR_DATA, "anchors: %d are wanted of %lld boxes", (int)count,
                       (long long)box_count);
    dn_clusters clusters = {.boxes = boxes, .box_count = box_count, .count = count};
    clusters.centres = dn_alloc((size_t)count * sizeof *clusters.centres);
    clusters.sums = dn_alloc((size_t)count * sizeof *clusters.sums);
    clusters.members = dn_alloc((size_t)count * sizeof *clusters.members);
    clusters.distances = dn_alloc((size_t)box_count * sizeof *clusters.distances);
    const bool allocated =
        clusters.centres && clusters.sums && clusters.members && clusters.distances;
    double best = -1.0;
    for (int restart = 0; allocated && restart < DN_RESTARTS; restart++) {
        dn_rng rng = dn_rng_make(seed, (uint64_t)restart, (uint64_t)count, DN_RNG_INIT);
        run(&clusters, &rng, anchors, &best);
    }
    dn_free(clusters.centres);
    dn_free(clusters.sums);
    dn_free(clusters.members);
    dn_free(clusters.distances);
    if (!allocated) return DN_ERROR_MEMORY;
    qsort(anchors, (size_t)count, sizeof *anchors, compare_areas);
    *average_iou = best;
    return DN_OK;
}
