/* Which boxes become RoIs in inference: the detector's best. See roi_sampling.h. */
#include "core/roi_sampling.h"

#include "core/memory.h"
#include "math/roi_choice.h"

#include <string.h>

dn_pass dn_roi_detector_pass(const dn_pass *pass, const dn_roi_rules *rules)
{
    dn_pass asked = *pass;
    asked.training = false;
    if (!(pass->threshold > 0.0f)) asked.threshold = rules->score_thresh;
    if (!(pass->nms >= 0.0f)) asked.nms = rules->nms;
    return asked;
}

dn_roi dn_roi_found(const dn_network *network, const dn_roi_rules *rules, int32_t image,
                    int32_t detection)
{
    const dn_detections *found = &network->detections;
    const dn_candidate *candidate = &found->items[detection];
    const int32_t class_id = candidate->best_class;
    return dn_roi_of_detection(
        image, detection, class_id, found->probs[(int64_t)detection * found->classes + class_id],
        candidate->box, (float)network->input.w, (float)network->input.h, rules->expand);
}

/* Puts `roi` into the sorted list of at most `limit`; the last one falls off where it is full. */
static int32_t insert(dn_roi *list, int32_t count, int32_t limit, dn_roi roi)
{
    int32_t at = count;
    while (at > 0 && list[at - 1].score < roi.score) at--;
    if (at == limit) return count;
    const int32_t last = count < limit ? count : limit - 1;
    for (int32_t i = last; i > at; i--) list[i] = list[i - 1];
    list[at] = roi;
    return last + 1;
}

dn_status dn_roi_extras_reserve(dn_roi_set *set, int32_t count)
{
    if (count <= set->extra_capacity) return DN_OK;
    const int32_t capacity = count < 32 ? 64 : 2 * count;
    dn_roi_extra *grown = dn_alloc((size_t)capacity * sizeof *grown);
    if (!grown) return DN_ERROR_MEMORY;
    if (set->extra_count) memcpy(grown, set->extras, (size_t)set->extra_count * sizeof *grown);
    dn_free(set->extras);
    set->extras = grown;
    set->extra_capacity = capacity;
    return DN_OK;
}

static dn_status add_extra(dn_roi_set *set, dn_roi_extra extra)
{
    DN_TRY(dn_roi_extras_reserve(set, set->extra_count + 1));
    set->extras[set->extra_count++] = extra;
    return DN_OK;
}

/* The other classes of RoIs first..last-1, which are those of the image that was detected last. */
static dn_status list_extras(const dn_detections *found, dn_roi_set *set, int32_t first,
                             int32_t last)
{
    if (!set->lists_extras) return DN_OK;
    for (int32_t r = first; r < last; r++) {
        const dn_roi *roi = &set->rois[r];
        if (roi->detection < 0 || roi->detection >= found->count) continue;
        const float *probs = found->probs + (int64_t)roi->detection * found->classes;
        for (int32_t c = 0; c < found->classes; c++)
            if (probs[c] > 0.0f && c != roi->class_id) DN_TRY(add_extra(set, (dn_roi_extra){r, c}));
    }
    return DN_OK;
}

dn_status dn_roi_extras_of_given(const dn_pass *pass, const dn_roi_rules *rules, int32_t before,
                                 dn_roi_set *set)
{
    dn_network *network = pass->network;
    const dn_pass asked = dn_roi_detector_pass(pass, rules);
    set->extra_count = 0;
    if (!set->lists_extras) return DN_OK;
    for (int32_t first = 0, last; first < set->count; first = last) {
        const int32_t image = set->rois[first].image;
        for (last = first; last < set->count && set->rois[last].image == image;) last++;
        DN_TRY(dn_detect(network, &asked, before, image, &network->detections));
        DN_TRY(list_extras(&network->detections, set, first, last));
    }
    return DN_OK;
}

dn_status dn_roi_from_detections(const dn_pass *pass, const dn_roi_rules *rules, int32_t before,
                                 dn_roi_set *set)
{
    dn_network *network = pass->network;
    const dn_detections *found = &network->detections;
    const dn_pass asked = dn_roi_detector_pass(pass, rules);
    set->count = set->extra_count = 0;
    for (int32_t image = 0; image < pass->batch; image++) {
        DN_TRY(dn_detect(network, &asked, before, image, &network->detections));
        dn_roi *list = set->rois + set->count;
        int32_t count = 0;
        for (int32_t i = 0; i < found->count; i++) {
            if (found->items[i].best_class < 0 || dn_box_is_empty(found->items[i].box)) continue;
            count = insert(list, count, set->per_image, dn_roi_found(network, rules, image, i));
        }
        set->count += count;
        DN_TRY(list_extras(found, set, set->count - count, set->count));
    }
    return DN_OK;
}
