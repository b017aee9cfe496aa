/* Suppression of overlapping boxes. See detections.h.
 *
 * Method: the positive probabilities are gathered class by class (a counting sort, since most are
 * zero), each class is sorted, and a box is compared with the boxes kept so far only. That gives
 * what comparing all pairs gives: a suppressed box suppresses nobody.
 */
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

typedef struct dn_kept {
    int32_t count;
    float *x0, *y0, *x1, *y1, *area; /* (count) each */
} dn_kept;

/* The higher probability first, then the earlier item. */
static int by_prob(const void *a, const void *b)
{
    const dn_entry *left = a, *right = b;
    if (left->prob != right->prob) return left->prob > right->prob ? -1 : 1;
    return left->item < right->item ? -1 : 1;
}

/* Whether a kept box has IoU > threshold with this one; written so that the compiler vectorises. */
static bool overlaps(const dn_kept *kept, dn_box box, float threshold)
{
    const float area = dn_box_area(box);
    int32_t found = 0;
    for (int32_t k = 0; k < kept->count; k++) {
        const float right = kept->x1[k] < box.x1 ? kept->x1[k] : box.x1;
        const float left = kept->x0[k] > box.x0 ? kept->x0[k] : box.x0;
        const float bottom = kept->y1[k] < box.y1 ? kept->y1[k] : box.y1;
        const float top = kept->y0[k] > box.y0 ? kept->y0[k] : box.y0;
        const float w = right - left > 0.0f ? right - left : 0.0f;
        const float h = bottom - top > 0.0f ? bottom - top : 0.0f;
        const float both = w * h, all = kept->area[k] + area - both;
        const float iou = both / (all > 0.0f ? all : 1.0f);
        found |= iou > threshold;
    }
    return found != 0;
}

static bool overlaps_distance(const dn_kept *kept, dn_box box, float threshold, float beta)
{
    for (int32_t k = 0; k < kept->count; k++) {
        const dn_box other = {kept->x0[k], kept->y0[k], kept->x1[k], kept->y1[k]};
        if (dn_box_diou(other, box, beta) > threshold) return true;
    }
    return false;
}

static void keep(dn_kept *kept, dn_box box)
{
    const int32_t k = kept->count++;
    kept->x0[k] = box.x0;
    kept->y0[k] = box.y0;
    kept->x1[k] = box.x1;
    kept->y1[k] = box.y1;
    kept->area[k] = dn_box_area(box);
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
    const int32_t classes = detections->classes, count = detections->count;
    const size_t bounds_bytes = (size_t)classes * sizeof(int64_t);
    int64_t *starts = get_scratch(detections, bounds_bytes);
    if (!starts) return DN_ERROR_MEMORY;
    const int64_t total = count_entries(detections, starts);
    const size_t kept_bytes = 5 * (size_t)count * sizeof(float);
    starts = get_scratch(detections, bounds_bytes + (size_t)total * sizeof(dn_entry) + kept_bytes);
    if (!starts) return DN_ERROR_MEMORY;
    count_entries(detections, starts); /* the scratch may have moved */
    dn_entry *entries = (dn_entry *)(starts + classes);
    float *room = (float *)(entries + total);
    fill_entries(detections, starts, entries);

    for (int32_t c = 0; c < classes; c++) {
        const int64_t end = c + 1 < classes ? starts[c + 1] : total;
        dn_kept kept = {
            0, room, room + count, room + 2 * count, room + 3 * count, room + 4 * count};
        qsort(entries + starts[c], (size_t)(end - starts[c]), sizeof *entries, by_prob);
        for (int64_t k = starts[c]; k < end; k++) {
            const int32_t item = entries[k].item;
            const dn_box box = detections->items[item].box;
            const bool lost =
                kind == DN_NMS_DEFAULT
                    ? overlaps(&kept, box, threshold)
                    : overlaps_distance(&kept, box, threshold, kind == DN_NMS_GREEDY ? 0.6f : beta);
            if (lost)
                detections->probs[(int64_t)item * classes + c] = 0.0f;
            else
                keep(&kept, box);
        }
    }
    return DN_OK;
}
