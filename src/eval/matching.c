/* Matching detections with truths of one class of one image, COCO's way and Darknet's.
 *
 * COCO, for each IoU and each range of area. A truth is ignored if it is a crowd or its area lies
 * outside the range. Detections choose by falling score: the free truth of the largest overlap that
 * reaches the IoU, the later of equals; ignored ones only where no other will do. A crowd is never
 * used up. Who chose an ignored truth is ignored, and so is who chose none and lies outside the
 * range itself. pycocotools notes a choice by the annotation's id and reads 0 as none: so do
 * `matched` and `ignored`, but not `hit`.
 *
 * Darknet: the truth of the largest overlap above iou_threshold, free or not; a crowd only where
 * there is no other.
 */
#include "core/memory.h"
#include "data/dataset.h"
#include "eval/evaluator.h"

#include <math.h>

typedef struct dn_candidate {
    int64_t truth; /* index in the group */
    double iou;
} dn_candidate;

typedef struct dn_matcher {
    const dn_scene *scene;
    const dn_group *group;
    dn_found *found;
    dn_candidate *candidates; /* of all detections: overlaps that reach the lowest IoU */
    int64_t candidate_count, candidate_capacity;
    int64_t *ends;   /* (detection_count): behind the detection's last candidate */
    bool *ignored;   /* (truth_count): in the present range of area */
    uint16_t *taken; /* (truth_count): at which IoUs */
} dn_matcher;

static const dn_eval_truth *truth_at(const dn_matcher *matcher, int64_t index)
{
    return &matcher->scene->truths[matcher->group->truths[index]];
}

/* ---- overlaps ---- */

static void own(const dn_matcher *matcher, int64_t truth, double iou, dn_found *found)
{
    const bool crowd = truth_at(matcher, truth)->crowd;
    if (!(iou > matcher->scene->evaluator->options.iou_threshold)) return;
    if (crowd && found->owner == DN_NO_TRUTH) found->owner = DN_CROWD_ONLY;
    if (crowd || iou <= found->owner_iou) return;
    found->owner = matcher->group->truths[truth];
    found->owner_iou = iou;
}

static dn_status find_candidates(dn_matcher *matcher)
{
    const dn_scene *scene = matcher->scene;
    const dn_group *group = matcher->group;
    for (int64_t d = 0; d < group->detection_count; d++) {
        const dn_shape *detection = &scene->detection_shapes[group->detections[d]];
        for (int64_t t = 0; t < group->truth_count; t++) {
            const dn_shape *truth = &scene->truth_shapes[group->truths[t]];
            const double iou = dn_eval_overlap(detection, truth, truth_at(matcher, t)->crowd);
            if (iou <= 0) continue;
            own(matcher, t, iou, &matcher->found[d]);
            if (iou < dn_eval_iou(0)) continue;
            dn_candidate *candidates = dn_grown(matcher->candidates, matcher->candidate_count,
                                                &matcher->candidate_capacity, sizeof *candidates);
            if (!candidates) return DN_ERROR_MEMORY;
            matcher->candidates = candidates;
            candidates[matcher->candidate_count++] = (dn_candidate){t, iou};
        }
        matcher->ends[d] = matcher->candidate_count;
    }
    return DN_OK;
}

/* ---- COCO's choice ---- */

/* The best free truth among those that are ignored, or among those that are not; -1: none. */
static int64_t choose(const dn_matcher *matcher, const dn_candidate *first, const dn_candidate *end,
                      int32_t iou_index, bool ignored)
{
    double best_iou = fmin(dn_eval_iou(iou_index), 1 - 1e-10);
    int64_t best = -1;
    for (const dn_candidate *c = first; c < end; c++) {
        if (matcher->ignored[c->truth] != ignored || c->iou < best_iou) continue;
        const bool free = !(matcher->taken[c->truth] >> iou_index & 1);
        if (!free && !truth_at(matcher, c->truth)->crowd) continue;
        best_iou = c->iou;
        best = c->truth;
    }
    return best;
}

static void match_one(dn_matcher *matcher, int32_t area, int64_t d)
{
    dn_found *found = &matcher->found[d];
    const dn_candidate *first = matcher->candidates + (d > 0 ? matcher->ends[d - 1] : 0);
    const dn_candidate *end = matcher->candidates + matcher->ends[d];
    const double size = matcher->scene->detection_shapes[matcher->group->detections[d]].area;
    const bool outside = size < dn_eval_areas[area][0] || size > dn_eval_areas[area][1];
    if (outside) found->ignored[area] = (1u << DN_IOUS) - 1;
    for (int32_t i = 0; first < end && i < DN_IOUS; i++) {
        const unsigned bit = 1u << i;
        int64_t truth = choose(matcher, first, end, i, false);
        const bool ignored = truth < 0;
        if (ignored) truth = choose(matcher, first, end, i, true);
        if (truth < 0) continue;
        matcher->taken[truth] |= (uint16_t)bit;
        if (area == 0 && !ignored) found->hit |= (uint16_t)bit;
        const bool noted = truth_at(matcher, truth)->id != 0;
        if (noted) found->matched[area] |= (uint16_t)bit;
        if (ignored)
            found->ignored[area] |= (uint16_t)bit;
        else if (noted)
            found->ignored[area] &= (uint16_t)~bit;
    }
}

static void match_area(dn_matcher *matcher, int32_t area)
{
    for (int64_t t = 0; t < matcher->group->truth_count; t++) {
        const dn_eval_truth *truth = truth_at(matcher, t);
        matcher->ignored[t] = truth->crowd || truth->area < dn_eval_areas[area][0] ||
                              truth->area > dn_eval_areas[area][1];
        matcher->taken[t] = 0;
    }
    for (int64_t d = 0; d < matcher->group->detection_count; d++) match_one(matcher, area, d);
}

dn_status dn_match_group(const dn_scene *scene, const dn_group *group, dn_found *found)
{
    dn_matcher matcher = {.scene = scene, .group = group, .found = found};
    dn_status status = DN_ERROR_MEMORY;
    matcher.ends = dn_alloc((size_t)group->detection_count * sizeof *matcher.ends);
    matcher.ignored = dn_alloc((size_t)group->truth_count * sizeof *matcher.ignored);
    matcher.taken = dn_alloc((size_t)group->truth_count * sizeof *matcher.taken);
    if (matcher.ends && matcher.ignored && matcher.taken) {
        for (int64_t d = 0; d < group->detection_count; d++)
            found[d] = (dn_found){
                .score = scene->detections[group->detections[d]].score,
                .class_id = dn_eval_class(scene->evaluator,
                                          scene->detections[group->detections[d]].class_id),
                .rank = (int32_t)d,
                .owner = DN_NO_TRUTH,
            };
        status = find_candidates(&matcher);
        for (int32_t area = 0; status == DN_OK && area < DN_AREAS; area++)
            match_area(&matcher, area);
    }
    dn_free(matcher.ends);
    dn_free(matcher.ignored);
    dn_free(matcher.taken);
    dn_free(matcher.candidates);
    return status;
}
