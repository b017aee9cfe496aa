/* COCO's average precision and recall of one class: see evaluator.h.
 *
 * For each IoU and range of area the detections that are not ignored are counted by falling score.
 * Behind the k-th true positive recall is k / truths and precision k / (k + false positives so
 * far); the precision at a recall is the best at that recall or a higher one, 0 where it is not
 * reached. AP is the mean of it over 101 recalls, AR the recall that all detections together reach.
 * Only true positives need looking at: between two of them recall stays and precision falls.
 */
#include "core/memory.h"
#include "eval/evaluator.h"

#include <float.h>

/* What pycocotools adds to the number of detections, numpy.spacing(1). */
static const double DN_SPACING = DBL_EPSILON;

/* The precision behind each true positive, and the best from there on; returns how many there are.
 */
static int64_t precisions(const dn_entry *entries, int64_t count, int32_t iou, int32_t area,
                          double *out)
{
    int64_t hits = 0, seen = 0;
    for (int64_t i = 0; i < count; i++) {
        const dn_found *found = entries[i].found;
        if (found->ignored[area] >> iou & 1) continue;
        seen++;
        if (!(found->matched[area] >> iou & 1)) continue;
        hits++;
        out[hits - 1] = (double)hits / ((double)seen + DN_SPACING);
    }
    for (int64_t k = hits - 1; k > 0; k--)
        if (out[k] > out[k - 1]) out[k - 1] = out[k];
    return hits;
}

/* The curve's precision at COCO's recalls. */
static void sample(const double *best, int64_t hits, int64_t truths, double *curve)
{
    int64_t k = 0;
    for (int32_t r = 0; r < DN_RECALLS; r++) {
        while (k < hits && (double)(k + 1) / (double)truths < dn_eval_recall(r)) k++;
        curve[r] = k < hits ? best[k] : 0;
    }
}

static double mean(const double *values, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += values[i];
    return sum / (double)count;
}

/* Recall over all IoUs with the best `most` detections of each image. */
static double average_recall(const dn_entry *entries, int64_t count, int64_t truths, int32_t area,
                             int32_t most)
{
    int64_t hits[DN_IOUS] = {0};
    for (int64_t i = 0; i < count; i++) {
        const dn_found *found = entries[i].found;
        if (found->rank >= most) continue;
        const unsigned counts = found->matched[area] & ~(unsigned)found->ignored[area];
        for (int32_t t = 0; t < DN_IOUS; t++) hits[t] += counts >> t & 1;
    }
    double sum = 0;
    for (int32_t t = 0; t < DN_IOUS; t++) sum += (double)hits[t] / (double)truths;
    return sum / DN_IOUS;
}

/* AP and AR in one range of area. curves: (DN_IOUS, DN_RECALLS). */
static void measure(const dn_entry *entries, int64_t count, int64_t truths, int32_t area,
                    double *scratch, double *curves, double numbers[DN_NUMBERS])
{
    for (int32_t t = 0; t < DN_IOUS; t++) {
        const int64_t hits = precisions(entries, count, t, area, scratch);
        sample(scratch, hits, truths, curves + (int64_t)t * DN_RECALLS);
    }
    const int32_t ap = area == 0 ? DN_AP : DN_AP_SMALL + area - 1;
    const int32_t ar = area == 0 ? DN_AR : DN_AR_SMALL + area - 1;
    numbers[ap] = mean(curves, DN_IOUS * DN_RECALLS);
    numbers[ar] = average_recall(entries, count, truths, area, INT32_MAX);
}

dn_status dn_accumulate_class(const dn_entry *entries, int64_t count,
                              const int64_t truths[DN_AREAS], double *precision,
                              double numbers[DN_NUMBERS])
{
    enum { CURVES = DN_IOUS * DN_RECALLS };
    for (int32_t i = 0; i < DN_NUMBERS; i++) numbers[i] = -1;
    for (int32_t i = 0; i < CURVES; i++) precision[i] = -1;
    double *scratch = dn_alloc(((size_t)count + CURVES) * sizeof *scratch);
    if (!scratch) return DN_ERROR_MEMORY;
    for (int32_t area = DN_AREAS - 1; area >= 0; area--) {
        double *curves = area == 0 ? precision : scratch + count;
        if (truths[area] > 0) measure(entries, count, truths[area], area, scratch, curves, numbers);
    }
    dn_free(scratch);
    if (truths[0] == 0) return DN_OK;
    numbers[DN_AP50] = mean(precision + DN_IOU_50 * DN_RECALLS, DN_RECALLS);
    numbers[DN_AP75] = mean(precision + DN_IOU_75 * DN_RECALLS, DN_RECALLS);
    numbers[DN_AR1] = average_recall(entries, count, truths[0], 0, 1);
    numbers[DN_AR10] = average_recall(entries, count, truths[0], 0, 10);
    return DN_OK;
}
