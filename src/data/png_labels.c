/* Instance label images: one PNG an image, 0 background, each other value one instance of class 0.
 *
 * Grey PNGs of 1 to 16 bits, and palette PNGs, whose index is the value. Instances become runs when
 * the data set is loaded: the PNGs are read once.
 * Limits: DN_LABEL_PIXELS pixels. Images whose PNG is missing or cannot be read are left out, since
 * as images without objects they would teach that everything is background.
 */
#include "core/memory.h"
#include "data/dataset.h"
#include "data/path.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

enum { DN_LABEL_PIXELS = 1 << 28, DN_REASON_SIZE = 128 };

typedef struct dn_label_reader {
    const char *path;
    FILE *file;
    png_structp png;
    png_infop info;
    bool out_of_memory;
    char reason[DN_REASON_SIZE]; /* libpng's own words */
    int32_t width, height;
    uint8_t *bytes;   /* (height, width, 1 or 2) */
    uint8_t **rows;   /* (height) */
    uint16_t *labels; /* (height, width) */
} dn_label_reader;

/* ---- libpng's hooks ---- */

static void on_error(png_structp png, png_const_charp message)
{
    dn_label_reader *reader = png_get_error_ptr(png);
    snprintf(reader->reason, sizeof reader->reason, "%s", message);
    longjmp(png_jmpbuf(png), 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t bytes)
{
    dn_label_reader *reader = png_get_mem_ptr(png);
    void *block = dn_alloc(bytes);
    if (!block) reader->out_of_memory = true;
    return block;
}

static void on_free(png_structp png, png_voidp block)
{
    (void)png;
    dn_free(block);
}

/* ---- one PNG ---- */

static dn_status check_header(dn_label_reader *reader)
{
    const int colour = png_get_color_type(reader->png, reader->info);
    const int64_t width = png_get_image_width(reader->png, reader->info);
    const int64_t height = png_get_image_height(reader->png, reader->info);
    if (colour != PNG_COLOR_TYPE_GRAY && colour != PNG_COLOR_TYPE_PALETTE)
        return dn_fail(DN_ERROR_DATA,
                       "%s: is a colour image; a label image is a grey or palette PNG whose values "
                       "number the instances",
                       reader->path);
    if (width * height > DN_LABEL_PIXELS)
        return dn_fail(DN_ERROR_DATA, "%s: %lld x %lld pixels; at most %d are allowed",
                       reader->path, (long long)width, (long long)height, DN_LABEL_PIXELS);
    reader->width = (int32_t)width;
    reader->height = (int32_t)height;
    return DN_OK;
}

static dn_status allocate_pixels(dn_label_reader *reader, bool wide)
{
    const size_t pixels = (size_t)reader->width * (size_t)reader->height;
    const size_t stride = (size_t)reader->width * (wide ? 2 : 1);
    reader->labels = dn_alloc(pixels * sizeof *reader->labels);
    reader->bytes = wide ? (uint8_t *)reader->labels : dn_alloc(pixels);
    reader->rows = dn_alloc((size_t)reader->height * sizeof *reader->rows);
    if (!reader->labels || !reader->bytes || !reader->rows) return DN_ERROR_MEMORY;
    for (int32_t y = 0; y < reader->height; y++)
        reader->rows[y] = reader->bytes + (size_t)y * stride;
    return DN_OK;
}

/* libpng leaves by longjmp: whatever must be freed is in *reader. */
static dn_status decode(dn_label_reader *reader)
{
    if (setjmp(png_jmpbuf(reader->png)))
        return dn_fail(DN_ERROR_DATA, "%s: not a PNG that can be read: %s", reader->path,
                       reader->reason);
    png_init_io(reader->png, reader->file);
    png_read_info(reader->png, reader->info);
    DN_TRY(check_header(reader));
    const bool wide = png_get_bit_depth(reader->png, reader->info) == 16;
    const uint16_t one = 1;
    if (wide && *(const uint8_t *)&one == 1) png_set_swap(reader->png);
    png_set_packing(reader->png); /* 1, 2 and 4 bits to a byte each */
    png_set_interlace_handling(reader->png);
    png_read_update_info(reader->png, reader->info);
    DN_TRY(allocate_pixels(reader, wide));
    png_read_image(reader->png, reader->rows);
    png_read_end(reader->png, NULL);
    const int64_t pixels = (int64_t)reader->width * reader->height;
    for (int64_t i = 0; !wide && i < pixels; i++) reader->labels[i] = reader->bytes[i];
    return DN_OK;
}

static dn_status read_png(const char *path, dn_label_reader *reader)
{
    *reader = (dn_label_reader){.path = path, .file = fopen(path, "rb")};
    if (!reader->file) return dn_fail(DN_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    dn_status status = DN_ERROR_MEMORY;
    reader->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, reader, on_error, on_warning,
                                           reader, on_malloc, on_free);
    if (reader->png) reader->info = png_create_info_struct(reader->png);
    if (reader->info) status = decode(reader);
    png_destroy_read_struct(&reader->png, &reader->info, NULL);
    fclose(reader->file);
    if (reader->bytes != (uint8_t *)reader->labels) dn_free(reader->bytes);
    dn_free(reader->rows);
    if (reader->out_of_memory) status = DN_ERROR_MEMORY;
    if (status != DN_OK) dn_free(reader->labels);
    return status;
}

/* ---- the data set ---- */

static dn_status add_instances(dn_builder *builder, const dn_rle *masks, int64_t count,
                               int64_t image)
{
    for (int64_t i = 0; i < count; i++) {
        int32_t box[4];
        dn_rle_bounds(&masks[i], box);
        dn_dataset_object object = {.bbox = {box[0], box[1], box[2], box[3]},
                                    .area = (double)dn_rle_area(&masks[i]),
                                    .id = builder->object_count + 1};
        DN_TRY(dn_builder_keep_rle(builder, &masks[i], &object));
        DN_TRY(dn_builder_add_object(builder, &object, image));
    }
    return DN_OK;
}

static dn_status read_image_labels(dn_builder *builder, dn_dataset_image *image, int64_t index)
{
    dn_label_reader reader;
    dn_rle *masks = NULL;
    uint16_t *values = NULL;
    int64_t count = 0;
    DN_TRY(read_png(image->label_path, &reader));
    image->width = reader.width;
    image->height = reader.height;
    dn_status status =
        dn_rles_from_labels(&masks, &values, &count, reader.labels, reader.height, reader.width);
    dn_free(reader.labels);
    if (status != DN_OK) return status;
    status = add_instances(builder, masks, count, index);
    dn_rles_free(masks, count);
    dn_buffer_free(values);
    return status;
}

/* masks folder / name of the image with the ending .png */
static char *mask_path(dn_builder *builder, const dn_dataset_image *image)
{
    const char *name = image->path + dn_path_folder(image->path);
    const char *dot = strrchr(name, '.');
    char *path = dn_alloc(strlen(name) + sizeof ".png");
    if (!path) return NULL;
    memcpy(path, name, dot ? (size_t)(dot - name) : strlen(name));
    strcat(path, ".png");
    char *joined = dn_path_join(&builder->dataset->arena, builder->source->masks_folder, path);
    dn_free(path);
    return joined;
}

dn_status dn_read_label_images(dn_builder *builder)
{
    const char *folder = builder->source->masks_folder;
    if (!dn_path_is_folder(folder))
        return dn_fail(DN_ERROR_IO, "%s: there is no such folder of mask images", folder);
    int64_t kept = 0;
    const char *first = NULL;
    for (int64_t i = 0; i < builder->image_count; i++) {
        dn_dataset_image image = builder->images[i];
        image.label_path = mask_path(builder, &image);
        if (!image.label_path) return DN_ERROR_MEMORY;
        if (!first) first = image.label_path;
        const dn_status status = read_image_labels(builder, &image, kept);
        if (status == DN_ERROR_MEMORY) return status;
        if (status == DN_OK) {
            builder->images[kept++] = image;
        } else {
            if (builder->source->strict) return status;
            char reason[256];
            snprintf(reason, sizeof reason, "%s", dn_error_message());
            DN_TRY(dn_builder_fault(builder, image.path, 0, "left out, because of %s", reason));
        }
    }
    if (kept == 0)
        return dn_fail(DN_ERROR_DATA,
                       "%s: none of the %lld images has a mask image there that can be read; that "
                       "of the first would be %s",
                       folder, (long long)builder->image_count, first);
    builder->image_count = kept;
    if (builder->names.count > 0) return dn_builder_number_classes(builder, 0);
    return dn_builder_number_classes(builder, 1);
}
