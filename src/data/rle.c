/* RLE: building from runs, reading and measuring; from pixels: rle_pixels.c. See rle.h. */
#include "data/rle.h"

#include "core/memory.h"

#include <string.h>

enum { DN_FIRST_CAPACITY = 64 };

/* Of the image. */
static int64_t dn_pixels_of(const dn_rle *rle)
{
    return (int64_t)rle->height * rle->width;
}

/* ---- the builder ---- */

dn_status dn_rle_check_size(const char *place, int32_t height, int32_t width)
{
    if (height < 1 || width < 1 || (int64_t)height * width > UINT32_MAX)
        return dn_fail(DN_ERROR_DATA,
                       "%s: a mask of %d x %d pixels (width x height); both must be at least 1 and "
                       "their product at most %u",
                       place, (int)width, (int)height, UINT32_MAX);
    return DN_OK;
}

dn_status dn_rle_begin(dn_rle_builder *builder, int32_t height, int32_t width)
{
    DN_TRY(dn_rle_check_size("RLE", height, width));
    *builder = (dn_rle_builder){.rle = {.height = height, .width = width}};
    return DN_OK;
}

static dn_status dn_push(dn_rle_builder *builder, uint32_t run)
{
    dn_rle *rle = &builder->rle;
    if (rle->run_count == builder->capacity) {
        const int64_t capacity = builder->capacity ? 2 * builder->capacity : DN_FIRST_CAPACITY;
        uint32_t *runs = dn_realloc(rle->runs, (size_t)rle->run_count * sizeof *runs,
                                    (size_t)capacity * sizeof *runs);
        if (!runs) return DN_ERROR_MEMORY;
        rle->runs = runs;
        builder->capacity = capacity;
    }
    rle->runs[rle->run_count++] = run;
    builder->end += run;
    return DN_OK;
}

dn_status dn_rle_append(dn_rle_builder *builder, uint32_t begin, uint32_t end)
{
    dn_rle *rle = &builder->rle;
    if (begin == end) return DN_OK;
    if (rle->run_count > 0 && begin == builder->end) {
        rle->runs[rle->run_count - 1] += end - begin;
        builder->end = end;
        return DN_OK;
    }
    DN_TRY(dn_push(builder, begin - builder->end));
    return dn_push(builder, end - begin);
}

dn_status dn_rle_finish(dn_rle_builder *builder, dn_status status, dn_rle *out)
{
    const uint32_t rest = (uint32_t)dn_pixels_of(&builder->rle) - builder->end;
    if (status == DN_OK && rest > 0) status = dn_push(builder, rest);
    if (status == DN_OK)
        *out = builder->rle;
    else
        dn_free(builder->rle.runs);
    *builder = (dn_rle_builder){0};
    return status;
}

void dn_rle_free(dn_rle *rle)
{
    if (!rle) return;
    dn_free(rle->runs);
    *rle = (dn_rle){0};
}

/* ---- from runs ---- */

dn_status dn_rle_check_run(const char *place, int64_t index, uint32_t run, uint32_t position,
                           const dn_rle *size)
{
    const uint32_t pixels = (uint32_t)dn_pixels_of(size);
    if (run <= pixels - position) return DN_OK;
    return dn_fail(DN_ERROR_DATA,
                   "%s: run %lld of %u pixels begins at pixel %u and leaves the image of "
                   "%d x %d = %u pixels",
                   place, (long long)index, run, position, (int)size->width, (int)size->height,
                   pixels);
}

dn_status dn_rle_from_runs(dn_rle *out, int32_t height, int32_t width, const uint32_t *runs,
                           int64_t run_count)
{
    dn_rle_builder builder;
    DN_TRY(dn_rle_begin(&builder, height, width));
    const uint32_t pixels = (uint32_t)dn_pixels_of(&builder.rle);
    uint32_t position = 0;
    dn_status status = DN_OK;
    for (int64_t i = 0; i < run_count && status == DN_OK; i++) {
        status = dn_rle_check_run("RLE", i, runs[i], position, &builder.rle);
        if (status != DN_OK) break;
        if (i % 2 == 1) status = dn_rle_append(&builder, position, position + runs[i]);
        position += runs[i];
    }
    if (status == DN_OK && position < pixels)
        status =
            dn_fail(DN_ERROR_DATA, "RLE: %lld runs cover %u pixels, the image of %d x %d has %u",
                    (long long)run_count, position, (int)width, (int)height, pixels);
    return dn_rle_finish(&builder, status, out);
}

/* ---- reading and measuring ---- */

void dn_rle_decode(const dn_rle *rle, uint8_t *mask, dn_mask_order order)
{
    const uint32_t height = (uint32_t)rle->height;
    memset(mask, 0, (size_t)dn_pixels_of(rle));
    uint32_t position = 0;
    for (int64_t i = 0; i < rle->run_count; position += rle->runs[i++]) {
        if (i % 2 == 0) continue;
        if (order == DN_COLUMN_MAJOR) {
            memset(mask + position, 1, rle->runs[i]);
            continue;
        }
        uint32_t x = position / height, y = position % height;
        for (uint32_t left = rle->runs[i]; left > 0; left--) {
            mask[(size_t)y * (size_t)rle->width + x] = 1;
            if (++y == height) {
                y = 0;
                x++;
            }
        }
    }
}

int64_t dn_rle_area(const dn_rle *rle)
{
    int64_t area = 0;
    for (int64_t i = 1; i < rle->run_count; i += 2) area += rle->runs[i];
    return area;
}

void dn_rle_bounds(const dn_rle *rle, int32_t box[4])
{
    const uint32_t height = (uint32_t)rle->height;
    uint32_t left = UINT32_MAX, top = UINT32_MAX, right = 0, bottom = 0, position = 0;
    for (int64_t i = 0; i < rle->run_count; position += rle->runs[i++]) {
        if (i % 2 == 0 || rle->runs[i] == 0) continue;
        const uint32_t last = position + rle->runs[i] - 1;
        const uint32_t first_x = position / height, last_x = last / height;
        /* A run that goes on in the next column touches the bottom row and the top row. */
        const bool wraps = last_x > first_x;
        const uint32_t first_y = wraps ? 0 : position % height;
        const uint32_t last_y = wraps ? height - 1 : last % height;
        if (first_x < left) left = first_x;
        if (first_y < top) top = first_y;
        if (last_x >= right) right = last_x + 1;
        if (last_y >= bottom) bottom = last_y + 1;
    }
    const bool empty = right == 0;
    box[0] = empty ? 0 : (int32_t)left;
    box[1] = empty ? 0 : (int32_t)top;
    box[2] = empty ? 0 : (int32_t)(right - left);
    box[3] = empty ? 0 : (int32_t)(bottom - top);
}
