/* Masks against each other: union, intersection, difference, IoU.
 *
 * Two masks are walked together from run to run, so the cost is the number of runs, whatever the
 * size of the image. IoU follows COCO: against a crowd region the union
 * is replaced by the detection's area, and two masks that share no pixel have IoU 0.
 */
#include "data/rle.h"

#include "core/memory.h"

/* A mask read from left to right. */
typedef struct dn_cursor {
    const dn_rle *rle;
    int64_t next;  /* the run after the present one */
    uint32_t left; /* pixels left of the present run */
    bool set;      /* its value */
} dn_cursor;

/* Moves to the next run that has pixels, if any. */
static void dn_skip_empty(dn_cursor *cursor)
{
    while (cursor->left == 0 && cursor->next < cursor->rle->run_count) {
        cursor->left = cursor->rle->runs[cursor->next++];
        cursor->set = !cursor->set;
    }
}

static dn_cursor dn_cursor_at_start(const dn_rle *rle)
{
    dn_cursor cursor = {.rle = rle, .set = true};
    dn_skip_empty(&cursor);
    return cursor;
}

/* Length of the stretch over which neither mask changes, 0 at the end; both go behind it, and
 * *a_set, *b_set are their values on it. */
static inline uint32_t dn_stretch(dn_cursor *a, dn_cursor *b, bool *a_set, bool *b_set)
{
    const uint32_t length = a->left < b->left ? a->left : b->left;
    *a_set = a->set;
    *b_set = b->set;
    a->left -= length;
    b->left -= length;
    dn_skip_empty(a);
    dn_skip_empty(b);
    return length;
}

static dn_status dn_check_same_size(const dn_rle *a, const dn_rle *b)
{
    if (a->height == b->height && a->width == b->width) return DN_OK;
    return dn_fail(DN_ERROR_DATA, "RLE: masks of %d x %d and %d x %d pixels do not go together",
                   (int)a->width, (int)a->height, (int)b->width, (int)b->height);
}

static bool dn_is_wanted(bool a, bool b, dn_mask_rule rule)
{
    switch (rule) {
    case DN_MASK_UNION:
        return a || b;
    case DN_MASK_INTERSECTION:
        return a && b;
    case DN_MASK_DIFFERENCE:
        break;
    }
    return a && !b;
}

static dn_status dn_merge_pair(dn_rle *out, const dn_rle *a, const dn_rle *b, dn_mask_rule rule)
{
    DN_TRY(dn_check_same_size(a, b));
    dn_rle_builder builder;
    DN_TRY(dn_rle_begin(&builder, a->height, a->width));
    dn_cursor left = dn_cursor_at_start(a), right = dn_cursor_at_start(b);
    dn_status status = DN_OK;
    uint32_t position = 0;
    while (status == DN_OK) {
        bool a_set, b_set;
        const uint32_t length = dn_stretch(&left, &right, &a_set, &b_set);
        if (length == 0) break;
        if (dn_is_wanted(a_set, b_set, rule))
            status = dn_rle_append(&builder, position, position + length);
        position += length;
    }
    return dn_rle_finish(&builder, status, out);
}

dn_status dn_rle_merge(dn_rle *out, const dn_rle *masks, int64_t count, dn_mask_rule rule)
{
    if (count < 1) return dn_fail(DN_ERROR_ARGUMENT, "RLE: no mask to merge");
    dn_rle merged;
    DN_TRY(dn_rle_from_runs(&merged, masks[0].height, masks[0].width, masks[0].runs,
                            masks[0].run_count));
    for (int64_t i = 1; i < count; i++) {
        dn_rle next;
        const dn_status status = dn_merge_pair(&next, &merged, &masks[i], rule);
        dn_rle_free(&merged);
        DN_TRY(status);
        merged = next;
    }
    *out = merged;
    return DN_OK;
}

int64_t dn_rle_shared(const dn_rle *a, const dn_rle *b)
{
    int64_t shared = 0;
    uint32_t a_end = 0, b_end = 0; /* behind the present stretches of ones */
    uint32_t a_begin = 0, b_begin = 0;
    int64_t i = 0, j = 0; /* the runs behind them */
    for (;;) {
        /* The stretch that ends first has met all that it can. */
        if (a_end <= b_end) {
            if (i + 1 >= a->run_count) return shared;
            a_begin = a_end + a->runs[i];
            a_end = a_begin + a->runs[i + 1];
            i += 2;
        } else {
            if (j + 1 >= b->run_count) return shared;
            b_begin = b_end + b->runs[j];
            b_end = b_begin + b->runs[j + 1];
            j += 2;
        }
        const uint32_t begin = a_begin > b_begin ? a_begin : b_begin;
        const uint32_t end = a_end < b_end ? a_end : b_end;
        if (begin < end) shared += end - begin;
    }
}

static double dn_iou(const dn_rle *detection, const dn_rle *truth, bool crowd)
{
    const int64_t shared = dn_rle_shared(detection, truth);
    if (shared == 0) return 0.0;
    const int64_t detected = dn_rle_area(detection);
    return (double)shared / (double)(crowd ? detected : detected + dn_rle_area(truth) - shared);
}

dn_status dn_rle_iou(double *out, const dn_rle *detection, const dn_rle *truth, bool crowd)
{
    DN_TRY(dn_check_same_size(detection, truth));
    *out = dn_iou(detection, truth, crowd);
    return DN_OK;
}

static bool dn_bounds_meet(const int32_t a[4], const int32_t b[4])
{
    return (int64_t)a[0] < (int64_t)b[0] + b[2] && (int64_t)b[0] < (int64_t)a[0] + a[2] &&
           (int64_t)a[1] < (int64_t)b[1] + b[3] && (int64_t)b[1] < (int64_t)a[1] + a[3];
}

dn_status dn_rle_ious(double *out, const dn_rle *detections, int64_t detection_count,
                      const dn_rle *truths, int64_t truth_count, const uint8_t *crowd)
{
    for (int64_t d = 0; d < detection_count; d++)
        DN_TRY(dn_check_same_size(&detections[0], &detections[d]));
    for (int64_t t = 0; t < truth_count && detection_count > 0; t++)
        DN_TRY(dn_check_same_size(&detections[0], &truths[t]));

    int32_t (*bounds)[4] = dn_alloc((size_t)truth_count * sizeof *bounds); /* (truth_count, 4) */
    if (!bounds) return DN_ERROR_MEMORY;
    for (int64_t t = 0; t < truth_count; t++) dn_rle_bounds(&truths[t], bounds[t]);
    for (int64_t d = 0; d < detection_count; d++) {
        int32_t box[4];
        dn_rle_bounds(&detections[d], box);
        for (int64_t t = 0; t < truth_count; t++)
            out[d * truth_count + t] = dn_bounds_meet(box, bounds[t])
                                           ? dn_iou(&detections[d], &truths[t], crowd && crowd[t])
                                           : 0.0;
    }
    dn_free(bounds);
    return DN_OK;
}
