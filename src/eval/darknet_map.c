/* Darknet's mean average precision of one class: see evaluator.h.
 *
 * By falling score the first detection of a truth is a true positive, each later one of it and each
 * without truth a false positive; detections that meet only a region to ignore are left out (as
 * Darknet does with difficult objects). The curve is made monotone; AP is the area under it or,
 * with map_points, the mean of its values at equally spaced recalls.
 */
#include "core/memory.h"
#include "eval/evaluator.h"

typedef struct dn_point {
    double recall, precision;
} dn_point;

static double area_under(const dn_point *curve, int64_t count)
{
    double area = 0, recall = 0;
    for (int64_t i = 0; i < count; i++) {
        area += (curve[i].recall - recall) * curve[i].precision;
        recall = curve[i].recall;
    }
    return area;
}

static double mean_at(const dn_point *curve, int64_t count, int32_t points)
{
    double sum = 0;
    int64_t k = 0;
    for (int32_t i = 0; i < points; i++) {
        const double recall = points > 1 ? (double)i / (points - 1) : 0;
        while (k < count && curve[k].recall < recall) k++;
        if (k < count) sum += curve[k].precision;
    }
    return sum / points;
}

dn_status dn_darknet_of_entries(const dn_evaluator *evaluator, const dn_entry *entries,
                                int64_t count, int64_t truths, uint8_t *owners, dn_darknet_map *out)
{
    const double threshold = evaluator->options.score_threshold;
    const int32_t points = evaluator->options.map_points;
    *out = (dn_darknet_map){.counts = {.threshold = threshold}};
    dn_point *curve = dn_alloc((size_t)count * sizeof *curve);
    if (!curve) return DN_ERROR_MEMORY;
    int64_t hits = 0, seen = 0;
    for (int64_t i = 0; i < count; i++) {
        const dn_found *found = entries[i].found;
        if (found->owner == DN_CROWD_ONLY) continue;
        const bool hit = found->owner >= 0 && !owners[found->owner];
        if (hit) owners[found->owner] = 1;
        seen++;
        hits += hit;
        if (entries[i].score >= threshold) {
            out->counts.true_positives += hit;
            out->counts.false_positives += !hit;
            if (hit) out->average_iou += found->owner_iou;
        }
        /* Only true positives begin a step of the curve. */
        if (hit)
            curve[hits - 1] =
                (dn_point){(double)hits / (double)truths, (double)hits / (double)seen};
    }
    for (int64_t k = hits - 1; k > 0; k--)
        if (curve[k].precision > curve[k - 1].precision)
            curve[k - 1].precision = curve[k].precision;
    out->ap = points > 0 ? mean_at(curve, hits, points) : area_under(curve, hits);
    out->counts.false_negatives = truths - out->counts.true_positives;
    dn_free(curve);
    return DN_OK;
}
