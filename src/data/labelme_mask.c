/* LabelMe files: shapes that are masks, PNGs as base64 text. See labelme.h.
 *
 * A mask lies with its upper left pixel at its first point.
 */
#include "core/memory.h"
#include "data/image.h"
#include "data/labelme.h"
#include "data/rle.h"

#include <math.h>
#include <string.h>

static int base64_digit(char character)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = character ? strchr(digits, character) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* Decodes `text` up to its end or padding into bytes, which has room for all; false: not base64. */
static bool decode_base64(const char *text, uint8_t *bytes, size_t *size)
{
    uint32_t bits = 0;
    int bit_count = 0;
    *size = 0;
    for (; *text && *text != '='; text++) {
        const int digit = base64_digit(*text);
        if (digit < 0 && *text != '\n' && *text != '\r') return false;
        if (digit < 0) continue;
        bits = bits << 6 | (uint32_t)digit;
        bit_count += 6;
        if (bit_count < 8) continue;
        bit_count -= 8;
        bytes[(*size)++] = (uint8_t)(bits >> bit_count);
    }
    return true;
}

dn_status dn_labelme_decode_mask(dn_shape *shape, const char *text)
{
    if (!text) return dn_fail(DN_ERROR_DATA, "a mask shape has no mask");
    uint8_t *bytes = dn_alloc(strlen(text) / 4 * 3 + 3);
    if (!bytes) return DN_ERROR_MEMORY;
    uint16_t *labels = NULL;
    uint8_t *inside = NULL;
    int32_t width = 0, height = 0;
    dn_image_file file = {"its mask", bytes, 0};
    dn_status status = DN_OK;
    if (!decode_base64(text, bytes, &file.size))
        status = dn_fail(DN_ERROR_DATA, "its mask is not base64");
    if (status == DN_OK) status = dn_label_png_read(&file, &labels, &width, &height);
    dn_free(bytes);
    if (status != DN_OK) return status;
    const size_t pixels = (size_t)width * (size_t)height;
    inside = dn_alloc(pixels);
    status = inside ? DN_OK : DN_ERROR_MEMORY;
    for (size_t i = 0; inside && i < pixels; i++) inside[i] = labels[i] != 0;
    if (inside) status = dn_rle_from_mask(&shape->mask, inside, height, width, DN_ROW_MAJOR);
    dn_free(inside);
    dn_free(labels);
    return status;
}

dn_status dn_labelme_place_mask(const dn_labelme *labelme, const dn_shape *shape, dn_rle *out)
{
    const dn_rle *mask = &shape->mask;
    const double *corner = labelme->reader->points.xy + shape->first;
    const int64_t left = (int64_t)floor(corner[0]), top = (int64_t)floor(corner[1]);
    const int32_t width = labelme->image->width, height = labelme->image->height;
    const size_t pixels = (size_t)mask->width * (size_t)mask->height;
    uint8_t *columns = dn_alloc(pixels); /* (mask->width, mask->height) */
    if (!columns) return DN_ERROR_MEMORY;
    dn_rle_decode(mask, columns, DN_COLUMN_MAJOR);
    dn_rle_builder builder;
    dn_status status = dn_rle_begin(&builder, height, width);
    if (status != DN_OK) {
        dn_free(columns);
        return status;
    }
    for (int64_t i = 0; i < (int64_t)pixels && status == DN_OK; i++) {
        const int64_t x = left + i / mask->height, y = top + i % mask->height;
        if (!columns[i] || x < 0 || x >= width || y < 0 || y >= height) continue;
        const uint32_t pixel = (uint32_t)(x * height + y);
        status = dn_rle_append(&builder, pixel, pixel + 1);
    }
    dn_free(columns);
    return dn_rle_finish(&builder, status, out);
}
