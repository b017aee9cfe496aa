/* F1 at a score threshold, and the best one: see evaluator.h.
 *
 * Matching is COCO's, one to one by falling score, so that what a threshold leaves is matched as if
 * nothing else had been found. Detections on crowds count neither way.
 */
#include "eval/evaluator.h"

void dn_f1_shares(dn_f1 *f1)
{
    const int64_t found = f1->true_positives + f1->false_positives;
    const int64_t truths = f1->true_positives + f1->false_negatives;
    f1->precision = found > 0 ? (double)f1->true_positives / (double)found : 0;
    f1->recall = truths > 0 ? (double)f1->true_positives / (double)truths : 0;
    f1->f1 = found + truths > 0 ? 2 * (double)f1->true_positives / (double)(found + truths) : 0;
}

void dn_f1_of_entries(const dn_entry *entries, int64_t count, int64_t truths, int32_t iou,
                      double threshold, dn_f1 *at_threshold, dn_f1 *best)
{
    dn_f1 now = {.threshold = 1, .false_negatives = truths};
    *best = now;
    *at_threshold = now;
    for (int64_t i = 0; i < count; i++) {
        const dn_found *found = entries[i].found;
        if (found->hit >> iou & 1) {
            now.true_positives++;
            now.false_negatives--;
        } else if (!(found->ignored[0] >> iou & 1)) {
            now.false_positives++;
        }
        /* Equal scores stand or fall together. */
        if (i + 1 < count && entries[i + 1].score == entries[i].score) continue;
        now.threshold = entries[i].score;
        dn_f1_shares(&now);
        if (now.threshold >= threshold) *at_threshold = now;
        if (now.f1 > best->f1) *best = now;
    }
    at_threshold->threshold = threshold;
    dn_f1_shares(at_threshold);
}
