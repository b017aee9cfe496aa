/* RLE: masks from pixels, of bytes, of label images and of Darknet's row-major runs. See rle.h. */
#include "data/rle.h"

#include "core/memory.h"

#include <string.h>

/* What to read in: columns [left, right) and rows [top, bottom) of bytes that are not 0, or, where
 * `labels` is set, of the labels that equal `value`. */
typedef struct dn_scan {
    const uint8_t *bytes;
    const uint16_t *labels;
    uint16_t value;
    int64_t row_step, column_step; /* from a pixel to its neighbour below, to the right */
    int32_t left, right, top, bottom;
} dn_scan;

static inline bool dn_is_set(const dn_scan *scan, int64_t pixel)
{
    return scan->labels ? scan->labels[pixel] == scan->value : scan->bytes[pixel] != 0;
}

static dn_status dn_rle_from_scan(dn_rle *out, int32_t height, int32_t width, const dn_scan *scan)
{
    dn_rle_builder builder;
    DN_TRY(dn_rle_begin(&builder, height, width));
    dn_status status = DN_OK;
    for (int32_t x = scan->left; x < scan->right && status == DN_OK; x++) {
        const int64_t column = x * scan->column_step;
        const uint32_t base = (uint32_t)x * (uint32_t)height;
        for (int32_t y = scan->top; y < scan->bottom && status == DN_OK;) {
            while (y < scan->bottom && !dn_is_set(scan, column + y * scan->row_step)) y++;
            const int32_t begin = y;
            while (y < scan->bottom && dn_is_set(scan, column + y * scan->row_step)) y++;
            status = dn_rle_append(&builder, base + (uint32_t)begin, base + (uint32_t)y);
        }
    }
    return dn_rle_finish(&builder, status, out);
}

dn_status dn_rle_from_mask(dn_rle *out, const uint8_t *mask, int32_t height, int32_t width,
                           dn_mask_order order)
{
    dn_scan scan = {.bytes = mask, .right = width, .bottom = height};
    scan.row_step = order == DN_ROW_MAJOR ? width : 1;
    scan.column_step = order == DN_ROW_MAJOR ? 1 : height;
    return dn_rle_from_scan(out, height, width, &scan);
}

/* Sets the pixels [begin, end), counted row after row, and makes the scan's box hold them. */
static void dn_set_row_run(uint8_t *mask, int32_t width, uint32_t begin, uint32_t end,
                           dn_scan *scan)
{
    if (begin == end) return;
    const int32_t top = (int32_t)(begin / (uint32_t)width);
    const int32_t last = (int32_t)((end - 1) / (uint32_t)width);
    const int32_t left = top == last ? (int32_t)(begin % (uint32_t)width) : 0;
    const int32_t right = top == last ? (int32_t)((end - 1) % (uint32_t)width) + 1 : width;
    if (scan->right == 0) {
        scan->left = left;
        scan->top = top;
    }
    if (left < scan->left) scan->left = left;
    if (right > scan->right) scan->right = right;
    scan->bottom = last + 1;
    memset(mask + begin, 1, end - begin);
}

dn_status dn_rle_from_row_runs(dn_rle *out, int32_t height, int32_t width, const uint32_t *runs,
                               int64_t run_count)
{
    DN_TRY(dn_rle_check_size("row-major RLE", height, width));
    const dn_rle size = {.height = height, .width = width};
    const uint32_t pixels = (uint32_t)height * (uint32_t)width;
    uint8_t *mask = dn_alloc(pixels); /* (height, width) */
    if (!mask) return DN_ERROR_MEMORY;

    dn_scan scan = {.bytes = mask, .row_step = width, .column_step = 1};
    dn_status status = DN_OK;
    uint32_t position = 0;
    for (int64_t i = 0; i < run_count; i++) {
        DN_TRY_GOTO(dn_rle_check_run("row-major RLE", i, runs[i], position, &size));
        if (i % 2 == 1) dn_set_row_run(mask, width, position, position + runs[i], &scan);
        position += runs[i];
    }
    if (run_count % 2 == 1) dn_set_row_run(mask, width, position, pixels, &scan);
    status = dn_rle_from_scan(out, height, width, &scan);
done:
    dn_free(mask);
    return status;
}

dn_status dn_rle_from_labels(dn_rle *out, const uint16_t *labels, int32_t height, int32_t width,
                             uint16_t value)
{
    const dn_scan scan = {.labels = labels,
                          .value = value,
                          .row_step = width,
                          .column_step = 1,
                          .right = width,
                          .bottom = height};
    return dn_rle_from_scan(out, height, width, &scan);
}

/* The box of every label, empty (right = 0) where it does not occur. */
static void dn_label_boxes(dn_scan *boxes, const uint16_t *labels, int32_t height, int32_t width)
{
    for (int32_t y = 0; y < height; y++) {
        for (int32_t x = 0; x < width; x++) {
            dn_scan *box = &boxes[labels[(int64_t)y * width + x]];
            if (box->right == 0) {
                box->left = x;
                box->top = y;
            }
            if (x < box->left) box->left = x;
            if (x >= box->right) box->right = x + 1;
            box->bottom = y + 1;
        }
    }
}

dn_status dn_rles_from_labels(dn_rle **out, uint16_t **values, int64_t *count,
                              const uint16_t *labels, int32_t height, int32_t width)
{
    DN_TRY(dn_rle_check_size("label image", height, width));
    dn_status status = DN_OK;
    dn_rle *masks = NULL;
    uint16_t *found = NULL;
    int64_t made = 0, wanted = 0;
    dn_scan *boxes = dn_alloc((UINT16_MAX + 1) * sizeof *boxes);
    if (!boxes) return DN_ERROR_MEMORY;

    dn_label_boxes(boxes, labels, height, width);
    for (int32_t value = 1; value <= UINT16_MAX; value++) wanted += boxes[value].right > 0;
    masks = dn_alloc((size_t)wanted * sizeof *masks);
    found = dn_alloc((size_t)wanted * sizeof *found);
    if (!masks || !found) status = DN_ERROR_MEMORY;
    for (int32_t value = 1; value <= UINT16_MAX && status == DN_OK; value++) {
        dn_scan *box = &boxes[value];
        if (box->right == 0) continue;
        box->labels = labels;
        box->value = (uint16_t)value;
        box->row_step = width;
        box->column_step = 1;
        found[made] = (uint16_t)value;
        status = dn_rle_from_scan(&masks[made], height, width, box);
        if (status == DN_OK) made++;
    }
    dn_free(boxes);
    if (status != DN_OK) {
        dn_rles_free(masks, made);
        dn_free(found);
        return status;
    }
    *out = masks;
    *values = found;
    *count = wanted;
    return DN_OK;
}

void dn_rles_free(dn_rle *masks, int64_t count)
{
    for (int64_t i = 0; i < count; i++) dn_rle_free(&masks[i]);
    dn_free(masks);
}
