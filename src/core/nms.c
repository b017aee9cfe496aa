/* Suppression of overlapping boxes. See detections.h.
 *
 * Method: the positive probabilities are gathered class by class (a counting sort, since most are
 * zero), each class is sorted, and a box is compared with the boxes kept so far only, of these with
 * those near enough (box_grid.h). That gives what comparing all pairs gives: a suppressed box
 * suppresses nobody, and no measure exceeds the IoU. So the tens of thousands of boxes of a head
 * that has learnt nothing yet cost milliseconds; only as many boxes on one spot cost their square.
 */
#include "core/box_grid.h"
#include "core/detections.h"
#include "core/memory.h"
#include "data/geometry.h"

#include <stdlib.h>
#include <string.h>

/* One positive probability of one class. */
typedef struct dn_entry {
    float prob;
    int32_t item;
} dn_entry;

typedef struct dn_nms_rule {
    float threshold;
    dn_nms_kind kind;
    float beta;
} dn_nms_rule;

/* The higher probability first, then the earlier item. */
static int by_prob(const void *a, const void *b)
{
    const dn_entry *left = a, *right = b;
    if (left->prob != right->prob) return left->prob > right->prob ? -1 : 1;
    return left->item < right->item ? -1 : 1;
}

/* The measure of two boxes that overlap. It never exceeds their IoU. */
static float measure(dn_box a, dn_box b, const dn_nms_rule *rule)
{
    return rule->kind == DN_NMS_DEFAULT ? dn_box_iou(a, b) : dn_box_diou(a, b, rule->beta);
}

/* Whether a kept box overlaps this one too much. */
static bool is_lost(const dn_box_grid *kept, dn_box box, const dn_nms_rule *rule)
{
    dn_box_search search = dn_box_grid_search(kept, box, rule->threshold);
    int32_t k;
    while ((k = dn_box_search_next(&search)) >= 0) {
        const dn_box other = kept->boxes[k];
        const bool touch =
            other.x0 < box.x1 && box.x0 < other.x1 && other.y0 < box.y1 && box.y0 < other.y1;
        if (touch && measure(other, box, rule) > rule->threshold) return true;
    }
    return false;
}

/* One class: its `count` entries, sorted. */
static void suppress(dn_detections *detections, int32_t class_id, const dn_entry *entries,
                     int32_t count, const dn_nms_rule *rule, void *memory)
{
    dn_box_grid kept = dn_box_grid_start(memory, count, 1.0f, 1.0f);
    for (int32_t k = 0; k < count; k++) {
        const int32_t item = entries[k].item;
        const dn_box box = detections->items[item].box;
        if (is_lost(&kept, box, rule))
            detections->probs[(int64_t)item * detections->classes + class_id] = 0.0f;
        else
            dn_box_grid_add(&kept, box);
    }
}

/* Scratch of `bytes` that stays with the list. */
static void *get_scratch(dn_detections *detections, size_t bytes)
{
    if (bytes > detections->scratch_bytes) {
        void *grown = dn_alloc(bytes + bytes / 2);
        if (!grown) return NULL;
        dn_free(detections->scratch);
        detections->scratch = grown;
        detections->scratch_bytes = bytes + bytes / 2;
    }
    return detections->scratch;
}

/* ends[c] = number of positive probabilities of classes 0..c. */
static int64_t count_entries(const dn_detections *detections, int64_t *ends)
{
    const int32_t classes = detections->classes;
    memset(ends, 0, (size_t)classes * sizeof *ends);
    for (int32_t i = 0; i < detections->count; i++) {
        const float *probs = detections->probs + (int64_t)i * classes;
        for (int32_t c = 0; c < classes; c++) ends[c] += probs[c] > 0.0f;
    }
    int64_t total = 0;
    for (int32_t c = 0; c < classes; c++) ends[c] = total += ends[c];
    return total;
}

/* Entries of class c to entries[ends[c - 1] .. ends[c] - 1], in the list's order. Filling from the
 * back leaves ends[c] at the class's start. */
static void fill_entries(const dn_detections *detections, int64_t *ends, dn_entry *entries)
{
    const int32_t classes = detections->classes;
    for (int32_t i = detections->count - 1; i >= 0; i--) {
        const float *probs = detections->probs + (int64_t)i * classes;
        for (int32_t c = 0; c < classes; c++)
            if (probs[c] > 0.0f) entries[--ends[c]] = (dn_entry){probs[c], i};
    }
}

dn_status dn_nms(dn_detections *detections, float threshold, dn_nms_kind kind, float beta)
{
    const dn_nms_rule rule = {threshold, kind, kind == DN_NMS_GREEDY ? 0.6f : beta};
    const int32_t classes = detections->classes;
    const size_t bounds_bytes = (size_t)classes * sizeof(int64_t);
    int64_t *starts = get_scratch(detections, bounds_bytes);
    if (!starts) return DN_ERROR_MEMORY;
    const int64_t total = count_entries(detections, starts);
    const size_t grid_bytes = dn_box_grid_bytes(detections->count);
    starts = get_scratch(detections, bounds_bytes + (size_t)total * sizeof(dn_entry) + grid_bytes);
    if (!starts) return DN_ERROR_MEMORY;
    count_entries(detections, starts); /* the scratch may have moved */
    dn_entry *entries = (dn_entry *)(starts + classes);
    fill_entries(detections, starts, entries);
    for (int32_t c = 0; c < classes; c++) {
        const int64_t end = c + 1 < classes ? starts[c + 1] : total;
        const int32_t count = (int32_t)(end - starts[c]); /* no more than detections */
        qsort(entries + starts[c], (size_t)count, sizeof *entries, by_prob);
        suppress(detections, c, entries + starts[c], count, &rule, entries + total);
    }
    return DN_OK;
}
