/* Which boxes become RoIs in training; in inference: roi_detections.c.
 *
 * A truth counts where it has a mask and an area and is no crowd. Candidates of an image
 * are the detector's boxes whose IoU with a truth is above 0 and at least positive_iou (the truth
 * of the largest IoU is theirs, the first of equals), the truth boxes, and one copy of each with
 * its sides shifted by normal deviates of box_jitter times its width or height, kept where it still
 * is positive. So the branch sees the box errors that it will meet. The detector's boxes and the
 * others are shuffled apart; the first train_rois / 2 of the detector's are taken, the rest from
 * the others, and what is then still free again from the detector's. Random numbers depend on seed,
 * iteration and image only.
 */
#include "core/roi_sampling.h"

#include "core/box_grid.h"
#include "core/memory.h"
#include "math/integers.h"

static bool is_usable(const dn_truth_object *object)
{
    return object->mask && !object->crowd && !dn_box_is_empty(object->box);
}

/* The objects of an image that boxes may match, to be found by place. */
typedef struct dn_roi_targets {
    const dn_truth *truth;
    dn_box *boxes;    /* (count) */
    int32_t *objects; /* (count): their indices in truth */
    dn_box_grid grid;
} dn_roi_targets;

/* In memory that stays with the set. */
static dn_status place_targets(const dn_network *network, const dn_truth *truth, dn_roi_set *set,
                               dn_roi_targets *targets)
{
    const int32_t most = truth->object_count;
    const size_t bytes =
        (size_t)most * (sizeof(dn_box) + sizeof(int32_t)) + dn_box_grid_bytes(most);
    if (bytes > set->target_bytes) {
        void *grown = dn_alloc(2 * bytes);
        if (!grown) return DN_ERROR_MEMORY;
        dn_free(set->targets);
        set->targets = grown;
        set->target_bytes = 2 * bytes;
    }
    *targets = (dn_roi_targets){.truth = truth, .boxes = set->targets};
    targets->objects = (int32_t *)(targets->boxes + most);
    int32_t count = 0;
    for (int32_t i = 0; i < most; i++) {
        if (!is_usable(&truth->objects[i])) continue;
        targets->boxes[count] = truth->objects[i].box;
        targets->objects[count++] = i;
    }
    targets->grid = dn_box_grid_make(targets->objects + most, targets->boxes, count,
                                     (float)network->input.w, (float)network->input.h);
    return DN_OK;
}

/* The usable truth with the largest IoU, the first of equals; -1 where none reaches `least`. */
static int32_t match(const dn_roi_targets *targets, dn_box box, float least)
{
    dn_box_search search = dn_box_grid_search(&targets->grid, box, least);
    int32_t best = -1, begin, end;
    float most = 0.0f;
    while (dn_box_search_next(&search, &begin, &end))
        for (int32_t k = begin; k < end; k++) {
            const int32_t target = targets->grid.order[k];
            const float iou = dn_box_iou(box, targets->boxes[target]);
            const bool better = iou > most || (iou == most && target < best);
            if (iou < least || !better) continue;
            best = target;
            most = iou;
        }
    return best < 0 ? -1 : targets->objects[best];
}

/* Reservoir of the first `limit` of a random permutation of candidates that come one by one
 * (Vitter 1985, algorithm R): uniform without a list of all. */
typedef struct dn_roi_reservoir {
    dn_roi *items;
    int32_t limit, kept, seen;
    dn_rng rng;
} dn_roi_reservoir;

static void offer(dn_roi_reservoir *reservoir, dn_roi roi)
{
    const int32_t seen = reservoir->seen++;
    if (reservoir->kept < reservoir->limit) {
        reservoir->items[reservoir->kept++] = roi;
        return;
    }
    const int32_t at = dn_rng_below(&reservoir->rng, seen + 1);
    if (at < reservoir->limit) reservoir->items[at] = roi;
}

static void shuffle(dn_roi_reservoir *reservoir)
{
    for (int32_t i = reservoir->kept - 1; i > 0; i--) {
        const int32_t j = dn_rng_below(&reservoir->rng, i + 1);
        const dn_roi held = reservoir->items[i];
        reservoir->items[i] = reservoir->items[j];
        reservoir->items[j] = held;
    }
}

static dn_box jittered(dn_box box, float deviation, dn_rng *rng)
{
    const float dx = deviation * (box.x1 - box.x0), dy = deviation * (box.y1 - box.y0);
    box.x0 += dx * dn_rng_normal(rng);
    box.y0 += dy * dn_rng_normal(rng);
    box.x1 += dx * dn_rng_normal(rng);
    box.y1 += dy * dn_rng_normal(rng);
    return box;
}

static dn_roi positive_roi(const dn_roi_rules *rules, const dn_truth *truth, int32_t image,
                           int32_t matched, dn_box box)
{
    return (dn_roi){
        .image = image,
        .class_id = truth->objects[matched].class_id,
        .truth = matched,
        .detection = -1,
        .level = -1,
        .score = 1.0f,
        .box = box,
        .expanded = dn_box_expand(box, rules->expand),
    };
}

static void offer_truths(const dn_roi_rules *rules, const dn_truth *truth, int32_t image,
                         dn_roi_reservoir *reservoir)
{
    for (int32_t i = 0; i < truth->object_count; i++) {
        if (!is_usable(&truth->objects[i])) continue;
        offer(reservoir, positive_roi(rules, truth, image, i, truth->objects[i].box));
        if (!(rules->box_jitter > 0.0f)) continue;
        const dn_box box = jittered(truth->objects[i].box, rules->box_jitter, &reservoir->rng);
        if (dn_box_iou(box, truth->objects[i].box) >= rules->positive_iou)
            offer(reservoir, positive_roi(rules, truth, image, i, box));
    }
}

static void offer_detections(const dn_network *network, const dn_roi_rules *rules,
                             const dn_roi_targets *targets, int32_t image,
                             dn_roi_reservoir *reservoir)
{
    for (int32_t i = 0; i < network->detections.count; i++) {
        if (network->detections.items[i].best_class < 0) continue;
        dn_roi roi = dn_roi_found(network, rules, image, i);
        roi.truth = match(targets, roi.box, rules->positive_iou);
        if (roi.truth < 0) continue;
        roi.class_id = targets->truth->objects[roi.truth].class_id;
        offer(reservoir, roi);
    }
}

dn_status dn_roi_from_truth(const dn_pass *pass, const dn_roi_rules *rules, int32_t before,
                            dn_roi_set *set)
{
    dn_network *network = pass->network;
    const dn_pass asked = dn_roi_detector_pass(pass, rules);
    const int32_t limit = set->per_image;
    set->count = 0;
    if (!pass->truth)
        return dn_fail(DN_ERROR_ARGUMENT, "%s: training [roialign] needs the images' objects",
                       network->cfg->name);
    for (int32_t image = 0; image < pass->batch; image++) {
        const dn_truth *truth = &pass->truth[image];
        dn_rng rng =
            dn_rng_make(pass->seed, (uint64_t)pass->iteration, (uint64_t)image, DN_RNG_ROI);
        dn_roi_reservoir found = {.items = set->drawn, .limit = limit, .rng = rng};
        rng.state = dn_rng_next(&rng);
        dn_roi_reservoir given = {.items = set->drawn + limit, .limit = limit, .rng = rng};
        if (rules->score_thresh <= 1.0f) {
            DN_TRY(dn_detect(network, &asked, before, image, &network->detections));
            dn_roi_targets targets;
            DN_TRY(place_targets(network, truth, set, &targets));
            offer_detections(network, rules, &targets, image, &found);
        }
        offer_truths(rules, truth, image, &given);
        shuffle(&found);
        shuffle(&given);
        const int32_t half = dn_least(found.kept, limit / 2);
        const int32_t others = dn_least(given.kept, limit - half);
        const int32_t detected = dn_least(found.kept, limit - others);
        dn_roi *to = set->rois + set->count;
        for (int32_t i = 0; i < detected; i++) *to++ = found.items[i];
        for (int32_t i = 0; i < others; i++) *to++ = given.items[i];
        set->count += detected + others;
    }
    return DN_OK;
}
