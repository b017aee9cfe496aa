/* A mask through a map: which pixels of another grid have their centres in it. See darknet.h.
 *
 * The counterpart of dn_image_sample for masks. Pixels are decided at their centres, so that a mask
 * drawn by it and the pixels chosen by it are the same set: objects are pasted into images with it
 * (train/copy_paste.c), and samples are drawn with it.
 *
 * Method: a table gives each output column and row its column and row of the mask, -1 where there
 * is none; only the box around the mask is looked at.
 */
#include "core/memory.h"
#include "data/geometry.h"
#include "data/rle.h"

#include <math.h>
#include <string.h>

/* places[i] = the pixel, counted from `first`, of `length` ones that the centre of pixel i falls
 * into; -1: none, or the centre is not in from..to. */
static int32_t *make_places(int32_t count, float scale, float offset, float from, float to,
                            int32_t first, int32_t length)
{
    int32_t *places = dn_alloc((size_t)count * sizeof *places);
    for (int32_t i = 0; places && i < count; i++) {
        const double centre = i + 0.5;
        const double place = floor((double)scale * centre + (double)offset) - first;
        const bool seen = centre >= (double)from && centre < (double)to;
        places[i] = seen && place >= 0 && place < length ? (int32_t)place : -1;
    }
    return places;
}

/* The part of the mask in box (x, y, width, height): a new array (width, height) of 0 and 1. */
static uint8_t *decode_box(const dn_rle *mask, const int32_t box[4])
{
    const uint32_t height = (uint32_t)mask->height;
    uint8_t *dense = dn_alloc((size_t)box[2] * (size_t)box[3]);
    uint32_t pixel = 0;
    for (int64_t i = 0; dense && i < mask->run_count; i++) {
        const uint32_t end = pixel + mask->runs[i];
        while (pixel < end && i % 2 == 1) { /* column after column */
            const uint32_t x = pixel / height, y = pixel % height;
            const uint32_t count = end - pixel < height - y ? end - pixel : height - y;
            memset(dense + (size_t)(x - (uint32_t)box[0]) * (size_t)box[3] + (y - (uint32_t)box[1]),
                   1, count);
            pixel += count;
        }
        pixel = end;
    }
    return dense;
}

/* Appends output column x, which shows `column`, a byte for each row of the mask's box. */
static dn_status append_column(dn_rle_builder *builder, int32_t x, const uint8_t *column,
                               const int32_t *rows)
{
    const int32_t height = builder->rle.height;
    const uint32_t top = (uint32_t)x * (uint32_t)height;
    for (int32_t y = 0; y < height; y++) {
        if (rows[y] < 0 || !column[rows[y]]) continue;
        const uint32_t pixel = top + (uint32_t)y;
        DN_TRY(dn_rle_append(builder, pixel, pixel + 1));
    }
    return DN_OK;
}

dn_status dn_rle_sample(dn_rle *out, const dn_rle *mask, const dn_affine *to_mask, dn_box visible,
                        int32_t height, int32_t width)
{
    int32_t bounds[4];
    dn_rle_bounds(mask, bounds);
    if (dn_box_is_empty(visible)) visible = (dn_box){0, 0, (float)width, (float)height};
    dn_rle_builder builder;
    DN_TRY(dn_rle_begin(&builder, height, width));
    uint8_t *dense = decode_box(mask, bounds);
    int32_t *columns = make_places(width, to_mask->scale_x, to_mask->offset_x, visible.x0,
                                   visible.x1, bounds[0], bounds[2]);
    int32_t *rows = make_places(height, to_mask->scale_y, to_mask->offset_y, visible.y0, visible.y1,
                                bounds[1], bounds[3]);
    dn_status status = dense && columns && rows ? DN_OK : DN_ERROR_MEMORY;
    for (int32_t x = 0; x < width && status == DN_OK; x++)
        if (columns[x] >= 0)
            status =
                append_column(&builder, x, dense + (size_t)columns[x] * (size_t)bounds[3], rows);
    dn_free(dense);
    dn_free(columns);
    dn_free(rows);
    return dn_rle_finish(&builder, status, out);
}
