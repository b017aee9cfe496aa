/* Which class was found as which: the pairs of one image, see evaluator.h.
 *
 * Detections of all classes with score_threshold choose by falling score: the free truth of any
 * class with the largest overlap that reaches iou_threshold; of equal overlaps one of their own
 * class. A detection that finds none counts as found in the background, unless it lies on a crowd;
 * a truth that nobody chose counts as not found.
 */
#include "core/memory.h"
#include "eval/evaluator.h"

#include <stdlib.h>

typedef struct dn_choice {
    double score;
    int64_t index;
} dn_choice;

static int by_score(const void *left, const void *right)
{
    const dn_choice *a = left, *b = right;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static int32_t truth_class(const dn_scene *scene, int64_t truth)
{
    return dn_eval_class(scene->evaluator, scene->truths[truth].class_id);
}

/* The truth that a detection chooses, DN_NO_TRUTH or DN_CROWD_ONLY. */
static int64_t choose(const dn_scene *scene, int64_t detection, int32_t class_id, const bool *taken)
{
    const double enough = scene->evaluator->options.iou_threshold;
    int64_t best = DN_NO_TRUTH;
    double best_iou = 0;
    for (int64_t t = 0; t < scene->truth_count; t++) {
        const bool crowd = scene->truths[t].crowd;
        if (taken[t]) continue;
        const double iou =
            dn_eval_overlap(&scene->detection_shapes[detection], &scene->truth_shapes[t], crowd);
        if (iou < enough || iou <= 0) continue;
        if (crowd && best == DN_NO_TRUTH) best = DN_CROWD_ONLY;
        if (crowd || iou < best_iou || (iou == best_iou && truth_class(scene, t) != class_id))
            continue;
        best = t;
        best_iou = iou;
    }
    return best;
}

dn_status dn_pair_classes(const dn_scene *scene, dn_pair **pairs, int64_t *count)
{
    const int32_t none = scene->evaluator->class_count;
    const size_t most = (size_t)(scene->truth_count + scene->detection_count);
    dn_choice *order = dn_alloc((size_t)scene->detection_count * sizeof *order);
    bool *taken = dn_alloc((size_t)scene->truth_count * sizeof *taken);
    dn_pair *made = dn_alloc(most * sizeof *made);
    dn_status status = order && taken && made ? DN_OK : DN_ERROR_MEMORY;
    int64_t wanted = 0, pair_count = 0;
    for (int64_t d = 0; status == DN_OK && d < scene->detection_count; d++)
        if (scene->detections[d].score >= scene->evaluator->options.score_threshold)
            order[wanted++] = (dn_choice){scene->detections[d].score, d};
    if (wanted > 0) qsort(order, (size_t)wanted, sizeof *order, by_score);
    for (int64_t i = 0; i < wanted; i++) {
        const int64_t d = order[i].index;
        const int32_t class_id = dn_eval_class(scene->evaluator, scene->detections[d].class_id);
        const int64_t truth = choose(scene, d, class_id, taken);
        if (truth == DN_CROWD_ONLY) continue;
        made[pair_count++] = (dn_pair){truth < 0 ? none : truth_class(scene, truth), class_id};
        if (truth >= 0) taken[truth] = true;
    }
    for (int64_t t = 0; status == DN_OK && t < scene->truth_count; t++)
        if (!taken[t] && !scene->truths[t].crowd)
            made[pair_count++] = (dn_pair){truth_class(scene, t), none};
    dn_free(order);
    dn_free(taken);
    if (status != DN_OK) {
        dn_free(made);
        return status;
    }
    *pairs = made;
    *count = pair_count;
    return DN_OK;
}
