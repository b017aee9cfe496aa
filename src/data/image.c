/* Image files: which decoder, limits, orientation. See image.h and darknet.h. */
#include "data/image.h"

#include "core/cfg.h"
#include "core/memory.h"

#include <stdio.h>
#include <string.h>

enum {
    DN_HEADER_BYTES = 1 << 16, /* hold the headers of nearly every file */
};

dn_status dn_image_check_size(const char *name, uint64_t width, uint64_t height)
{
    if (width < 1 || height < 1 || width > DN_IMAGE_SIDE_LIMIT || height > DN_IMAGE_SIDE_LIMIT ||
        width * height > DN_IMAGE_PIXEL_LIMIT)
        return dn_fail(DN_ERROR_DATA,
                       "%s: the image is %llu x %llu, allowed are sides of 1..%d and %d pixels",
                       name, (unsigned long long)width, (unsigned long long)height,
                       DN_IMAGE_SIDE_LIMIT, DN_IMAGE_PIXEL_LIMIT);
    return DN_OK;
}

dn_status dn_image_alloc(int32_t width, int32_t height, dn_image *out)
{
    uint8_t *data = dn_alloc_unset((size_t)width * (size_t)height * 3);
    if (!data) return DN_ERROR_MEMORY;
    *out = (dn_image){width, height, data};
    return DN_OK;
}

void dn_image_free(dn_image *image)
{
    if (!image) return;
    dn_free(image->data);
    *image = (dn_image){0};
}

static dn_status find_format(const dn_image_file *file, const dn_image_format **out)
{
    static const dn_image_format *const formats[] = {&dn_image_jpeg, &dn_image_png, &dn_image_ppm};
    if (file->size == 0) return dn_fail(DN_ERROR_DATA, "%s: the file is empty", file->name);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (formats[i]->matches(file)) {
            *out = formats[i];
            return DN_OK;
        }
    }
    return dn_fail(DN_ERROR_DATA, "%s: the content is no JPEG, PNG or PPM (P5, P6) image",
                   file->name);
}

/* The largest of 1, 2, 4, 8 up to `wanted` that divides both sides. */
static int32_t usable_shrink(int32_t wanted, const dn_image_header *header)
{
    int32_t shrink = wanted < 8 ? wanted : 8;
    while (shrink > 1 && (header->width % shrink != 0 || header->height % shrink != 0)) shrink /= 2;
    return shrink;
}

static dn_status decode(const dn_image_file *file, int32_t *shrink, dn_image *out)
{
    const dn_image_format *format = NULL;
    dn_image_header header = {.orientation = 1};
    dn_image image = {0};
    DN_TRY(find_format(file, &format));
    if (*shrink > 1 && format->shrinks) {
        DN_TRY(format->read_header(file, &header));
        *shrink = usable_shrink(*shrink, &header);
    } else {
        *shrink = 1;
    }
    DN_TRY(format->decode(file, *shrink, &header, &image));
    const dn_status status = dn_image_orient(&image, header.orientation);
    if (status == DN_OK)
        *out = image;
    else
        dn_image_free(&image);
    return status;
}

dn_status dn_image_load_memory(const void *bytes, size_t size, const char *name, dn_image *out)
{
    const dn_image_file file = {name, bytes, size};
    int32_t shrink = 1;
    return decode(&file, &shrink, out);
}

dn_status dn_image_load_shrunk(const char *path, int32_t *shrink, dn_image *out)
{
    char *bytes;
    size_t size;
    DN_TRY(dn_read_file(path, DN_IMAGE_FILE_LIMIT, &bytes, &size));
    const dn_image_file file = {path, (const uint8_t *)bytes, size};
    const dn_status status = decode(&file, shrink, out);
    dn_free(bytes);
    return status;
}

dn_status dn_image_load(const char *path, dn_image *out)
{
    int32_t shrink = 1;
    return dn_image_load_shrunk(path, &shrink, out);
}

static dn_status read_header(const dn_image_file *file, dn_image_header *header)
{
    const dn_image_format *format = NULL;
    DN_TRY(find_format(file, &format));
    return format->read_header(file, header);
}

/* Reads the headers from the file's beginning; false where they do not fit in there. */
static bool read_short_header(const char *path, dn_image_header *header)
{
    FILE *stream = fopen(path, "rb");
    if (!stream) return false;
    uint8_t *bytes = dn_alloc(DN_HEADER_BYTES);
    const size_t size = bytes ? fread(bytes, 1, DN_HEADER_BYTES, stream) : 0;
    fclose(stream);
    const dn_image_file file = {path, bytes, size};
    const bool found = size > 0 && read_header(&file, header) == DN_OK;
    dn_free(bytes);
    return found;
}

bool dn_image_is_plain_jpeg(const dn_image_file *file, dn_image_header *header)
{
    return dn_image_jpeg.matches(file) && dn_image_jpeg.read_header(file, header) == DN_OK &&
           header->plain_jpeg && header->orientation == 1;
}

dn_status dn_image_size(const char *path, int32_t *width, int32_t *height)
{
    dn_image_header header = {.orientation = 1};
    if (!read_short_header(path, &header)) {
        /* Long profiles push the size out of the first bytes; all other troubles show again. */
        char *bytes;
        size_t size;
        DN_TRY(dn_read_file(path, DN_IMAGE_FILE_LIMIT, &bytes, &size));
        const dn_image_file file = {path, (const uint8_t *)bytes, size};
        const dn_status status = read_header(&file, &header);
        dn_free(bytes);
        if (status != DN_OK) return status;
    }
    const bool turned = header.orientation >= 5;
    *width = turned ? header.height : header.width;
    *height = turned ? header.width : header.height;
    return DN_OK;
}
