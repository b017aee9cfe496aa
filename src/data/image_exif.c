/* EXIF's orientation: reading the tag, turning the image. See image.h.
 *
 * An EXIF block is a TIFF header ("II*\0" or "MM\0*", then the offset of the first directory); a
 * directory is a 16-bit count and entries of 12 bytes: tag, type, count, value. Only the tag 0x0112
 * (SHORT) of the first directory counts. Photographs come with damaged blocks, so that anything
 * that does not read well means "as stored" and is never an error.
 */
#include "data/image.h"

#include "core/memory.h"

#include <string.h>

enum {
    DN_TIFF_HEADER = 8,
    DN_TIFF_ENTRY = 12,
    DN_TIFF_SHORT = 3,
    DN_TAG_ORIENTATION = 0x0112,
};

static uint32_t read_16(const uint8_t *bytes, bool big)
{
    return big ? (uint32_t)bytes[0] << 8 | bytes[1] : (uint32_t)bytes[1] << 8 | bytes[0];
}

static uint32_t read_32(const uint8_t *bytes, bool big)
{
    return big ? read_16(bytes, big) << 16 | read_16(bytes + 2, big)
               : read_16(bytes + 2, big) << 16 | read_16(bytes, big);
}

int32_t dn_exif_orientation(const uint8_t *block, size_t size)
{
    if (size < DN_TIFF_HEADER) return 1;
    const bool big = memcmp(block, "MM\0*", 4) == 0;
    if (!big && memcmp(block, "II*\0", 4) != 0) return 1;
    const size_t directory = read_32(block + 4, big);
    if (directory > size - 2) return 1;
    const size_t room = (size - 2 - directory) / DN_TIFF_ENTRY;
    size_t count = read_16(block + directory, big);
    if (count > room) count = room;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *entry = block + directory + 2 + i * DN_TIFF_ENTRY;
        if (read_16(entry, big) != DN_TAG_ORIENTATION) continue;
        const uint32_t value = read_16(entry + 8, big);
        const bool fits = read_16(entry + 2, big) == DN_TIFF_SHORT && value >= 1 && value <= 8;
        return fits ? (int32_t)value : 1;
    }
    return 1;
}

/* Where a step right and a step down in the turned image lead in the stored one, and where its
 * first pixel lies: from 0, or from the end of a side. */
typedef struct dn_turn {
    bool swap;                 /* rows become columns */
    bool from_right, from_end; /* stored x, stored y run backwards */
} dn_turn;

static dn_turn turn_of(int32_t orientation)
{
    static const dn_turn turns[9] = {
        [2] = {false, true, false}, [3] = {false, true, true}, [4] = {false, false, true},
        [5] = {true, false, false}, [6] = {true, false, true}, [7] = {true, true, true},
        [8] = {true, true, false},
    };
    return turns[orientation];
}

dn_status dn_image_orient(dn_image *image, int32_t orientation)
{
    if (orientation < 2 || orientation > 8) return DN_OK;
    const dn_turn turn = turn_of(orientation);
    const int32_t width = turn.swap ? image->height : image->width;
    const int32_t height = turn.swap ? image->width : image->height;
    dn_image turned;
    DN_TRY(dn_image_alloc(width, height, &turned));
    uint8_t *to = turned.data;
    for (int32_t y = 0; y < height; y++) {
        for (int32_t x = 0; x < width; x++, to += 3) {
            int32_t from_x = turn.swap ? y : x, from_y = turn.swap ? x : y;
            if (turn.from_right) from_x = image->width - 1 - from_x;
            if (turn.from_end) from_y = image->height - 1 - from_y;
            memcpy(to, image->data + ((size_t)from_y * (size_t)image->width + (size_t)from_x) * 3,
                   3);
        }
    }
    dn_image_free(image);
    *image = turned;
    return DN_OK;
}
