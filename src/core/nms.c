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

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One positive probability of one class. */
typedef struct dn_entry {
    float prob;
    int32_t item;
} dn_entry;

/* The higher probability first, then the earlier item. */
static int by_prob(const void *a, const void *b)
{
    const dn_entry *left = a, *right = b;
    if (left->prob != right->prob) return left->prob > right->prob ? -1 : 1;
    return left->item < right->item ? -1 : 1;
}

/* The boxes of a class in the order of a grid; those not kept, or not yet, are of nothing. */
typedef struct dn_kept {
    dn_box_grid grid;
    float *x0, *y0, *x1, *y1, *area; /* (count) each */
} dn_kept;

/* Whether one of the boxes begin..end-1 has IoU > threshold with this one; written so that the
 * compiler vectorises. */
static bool overlaps(const dn_kept *kept, int32_t begin, int32_t end, dn_box box, float threshold)
{
    const float area = dn_box_area(box);
    int32_t found = 0;
    for (int32_t k = begin; k < end; k++) {
        const float iou = dn_nms_iou(kept->x0[k], kept->y0[k], kept->x1[k], kept->y1[k],
                                     kept->area[k], box, area);
        found |= iou > threshold;
    }
    return found != 0;
}

static bool overlaps_distance(const dn_kept *kept, int32_t begin, int32_t end, dn_box box,
                              const dn_nms_rule *rule)
{
    for (int32_t k = begin; k < end; k++) {
        const dn_box other = {kept->x0[k], kept->y0[k], kept->x1[k], kept->y1[k]};
        if (dn_nms_loses_by_distance(rule, other, box)) return true;
    }
    return false;
}

static bool is_lost(const dn_kept *kept, dn_box box, const dn_nms_rule *rule)
{
    dn_box_search search = dn_box_grid_search(&kept->grid, box, rule->threshold);
    int32_t begin, end;
    while (dn_box_search_next(&search, &begin, &end))
        if (rule->kind == DN_NMS_DEFAULT ? overlaps(kept, begin, end, box, rule->threshold)
                                         : overlaps_distance(kept, begin, end, box, rule))
            return true;
    return false;
}

static void set_box(dn_kept *kept, int32_t k, dn_box box)
{
    kept->x0[k] = box.x0;
    kept->y0[k] = box.y0;
    kept->x1[k] = box.x1;
    kept->y1[k] = box.y1;
    kept->area[k] = dn_box_area(box);
}

static size_t kept_bytes(int32_t count)
{
    return (size_t)count * (sizeof(dn_box) + 5 * sizeof(float)) + dn_box_grid_bytes(count);
}

/* One class: its `count` entries, sorted. `memory`: kept_bytes. */
static void suppress(dn_detections *detections, int32_t class_id, const dn_entry *entries,
                     int32_t count, const dn_nms_rule *rule, void *memory)
{
    const dn_box nothing = {INFINITY, INFINITY, -INFINITY, -INFINITY};
    dn_box *boxes = memory;
    float *room = (float *)(boxes + count);
    dn_kept kept = {.x0 = room,
                    .y0 = room + count,
                    .x1 = room + 2 * count,
                    .y1 = room + 3 * count,
                    .area = room + 4 * count};
    for (int32_t k = 0; k < count; k++) boxes[k] = detections->items[entries[k].item].box;
    kept.grid = dn_box_grid_make(room + 5 * count, boxes, count, 1.0f, 1.0f);
    for (int32_t k = 0; k < count; k++) set_box(&kept, k, nothing);
    for (int32_t k = 0; k < count; k++) {
        if (is_lost(&kept, boxes[k], rule))
            detections->probs[(int64_t)entries[k].item * detections->classes + class_id] = 0.0f;
        else
            set_box(&kept, kept.grid.place[k], boxes[k]);
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
    const dn_nms_rule rule = dn_nms_rule_of(threshold, kind, beta);
    const int32_t classes = detections->classes;
    const size_t bounds_bytes = (size_t)classes * sizeof(int64_t);
    int64_t *starts = get_scratch(detections, bounds_bytes);
    if (!starts) return DN_ERROR_MEMORY;
    const int64_t total = count_entries(detections, starts);
    const size_t kept = kept_bytes(detections->count);
    starts = get_scratch(detections, bounds_bytes + (size_t)total * sizeof(dn_entry) + kept);
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
