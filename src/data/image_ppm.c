/* PPM and PGM files (binary: P6, P5), which many tools write. See image.h.
 *
 * A text header (magic, width, height, largest value; '#' begins a comment), one white character,
 * then rows of samples of one byte, or two (big-endian) where the largest value passes 255.
 */
#include "data/image.h"

#include "core/memory.h"

typedef struct dn_ppm_header {
    uint32_t width, height, largest;
    size_t start; /* of the samples */
} dn_ppm_header;

static bool matches(const dn_image_file *file)
{
    return file->size > 2 && file->bytes[0] == 'P' &&
           (file->bytes[1] == '5' || file->bytes[1] == '6');
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Reads the number after white space and comments; the cursor stays on the character behind it. */
static dn_status read_number(const dn_image_file *file, size_t *cursor, uint32_t *out)
{
    size_t at = *cursor;
    bool comment = false;
    while (at < file->size && (comment || is_space(file->bytes[at]) || file->bytes[at] == '#')) {
        comment = file->bytes[at] == '#' || (comment && file->bytes[at] != '\n');
        at++;
    }
    const size_t first = at;
    uint32_t value = 0;
    for (; at < file->size && at - first < 9; at++) {
        if (file->bytes[at] < '0' || file->bytes[at] > '9') break;
        value = value * 10 + (file->bytes[at] - (uint32_t)'0');
    }
    if (at == first || at == file->size || at == *cursor)
        return dn_fail(DN_ERROR_DATA, "%s: the PPM header is damaged at byte %zu", file->name, at);
    *cursor = at;
    *out = value;
    return DN_OK;
}

static dn_status read_ppm_header(const dn_image_file *file, dn_ppm_header *header)
{
    size_t cursor = 2;
    DN_TRY(read_number(file, &cursor, &header->width));
    DN_TRY(read_number(file, &cursor, &header->height));
    DN_TRY(read_number(file, &cursor, &header->largest));
    if (header->largest < 1 || header->largest > 65535 || !is_space(file->bytes[cursor]))
        return dn_fail(DN_ERROR_DATA, "%s: the PPM header is damaged at byte %zu", file->name,
                       cursor);
    header->start = cursor + 1;
    return dn_image_check_size(file->name, header->width, header->height);
}

static dn_status read_header(const dn_image_file *file, dn_image_header *header)
{
    dn_ppm_header ppm;
    DN_TRY(read_ppm_header(file, &ppm));
    *header = (dn_image_header){
        .width = (int32_t)ppm.width, .height = (int32_t)ppm.height, .orientation = 1};
    return DN_OK;
}

/* One sample, scaled to 0..255 and rounded. */
static uint8_t read_sample(const uint8_t *bytes, bool wide, uint32_t largest)
{
    uint32_t value = wide ? (uint32_t)bytes[0] << 8 | bytes[1] : bytes[0];
    if (value > largest) value = largest;
    return (uint8_t)((value * 255 + largest / 2) / largest);
}

static dn_status decode(const dn_image_file *file, int32_t shrink, dn_image_header *header,
                        dn_image *out)
{
    (void)shrink;
    dn_ppm_header ppm;
    DN_TRY(read_ppm_header(file, &ppm));
    const bool wide = ppm.largest > 255;
    const bool gray = file->bytes[1] == '5';
    const size_t pixels = (size_t)ppm.width * ppm.height;
    const size_t sample = wide ? 2 : 1, pixel = gray ? sample : 3 * sample;
    if ((file->size - ppm.start) / pixel < pixels)
        return dn_fail(DN_ERROR_DATA, "%s: the PPM file ends early: %u x %u need %zu bytes of %zu",
                       file->name, ppm.width, ppm.height, ppm.start + pixels * pixel, file->size);
    dn_image image;
    DN_TRY(dn_image_alloc((int32_t)ppm.width, (int32_t)ppm.height, &image));
    const uint8_t *from = file->bytes + ppm.start;
    for (size_t i = 0; i < pixels; i++, from += pixel)
        for (size_t c = 0; c < 3; c++)
            image.data[i * 3 + c] = read_sample(from + (gray ? 0 : c * sample), wide, ppm.largest);
    *header = (dn_image_header){.width = image.width, .height = image.height, .orientation = 1};
    *out = image;
    return DN_OK;
}

const dn_image_format dn_image_ppm = {"PPM", matches, read_header, decode, false};
