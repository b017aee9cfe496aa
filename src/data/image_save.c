/* Writing images: PNG or JPEG, chosen by the name's ending. See darknet.h. */
#include "data/image.h"

#include "core/memory.h"
#include "core/new_file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <jpeglib.h>
#include <png.h>

enum {
    DN_JPEG_QUALITY = 90,
    DN_JPEG_SIDE_LIMIT = 65500, /* libjpeg's */
    DN_PNG_LEVEL = 3,           /* overlays are pictures: more costs much and saves little */
};

/* What the writers' callbacks share. */
typedef struct dn_image_writer {
    jmp_buf jump;
    const char *path;
    dn_status status;
    bool out_of_memory;
} dn_image_writer;

static void raise_png(png_structp png, png_const_charp text)
{
    dn_image_writer *writer = png_get_error_ptr(png);
    writer->status = writer->out_of_memory
                         ? DN_ERROR_MEMORY
                         : dn_fail(DN_ERROR_IO, "%s: cannot write the PNG: %s", writer->path, text);
    longjmp(writer->jump, 1);
}

static void ignore_png(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static png_voidp allocate(png_structp png, png_alloc_size_t size)
{
    dn_image_writer *writer = png_get_mem_ptr(png);
    void *block = dn_alloc(size);
    if (!block) writer->out_of_memory = true;
    return block;
}

static void release(png_structp png, png_voidp block)
{
    (void)png;
    dn_free(block);
}

static void write_png_guarded(dn_image_writer *writer, png_structp png, png_infop info,
                              const dn_image *image, FILE *stream)
{
    if (setjmp(writer->jump)) return;
    png_init_io(png, stream);
    png_set_compression_level(png, DN_PNG_LEVEL);
    png_set_IHDR(png, info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int32_t y = 0; y < image->height; y++)
        png_write_row(png, image->data + (size_t)y * (size_t)image->width * 3);
    png_write_end(png, info);
}

static dn_status write_png(const char *path, const dn_image *image, FILE *stream)
{
    dn_image_writer writer = {.path = path};
    png_structp png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &writer, raise_png,
                                                ignore_png, &writer, allocate, release);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (info)
        write_png_guarded(&writer, png, info, image, stream);
    else
        writer.status = writer.out_of_memory
                            ? DN_ERROR_MEMORY
                            : dn_fail(DN_ERROR_IO, "%s: libpng does not start (%s)", path,
                                      PNG_LIBPNG_VER_STRING);
    png_destroy_write_struct(png ? &png : NULL, info ? &info : NULL);
    return writer.status;
}

static void raise_jpeg(j_common_ptr info)
{
    dn_image_writer *writer = info->client_data;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    writer->status = dn_fail(DN_ERROR_IO, "%s: cannot write the JPEG: %s", writer->path, text);
    longjmp(writer->jump, 1);
}

static void ignore_jpeg(j_common_ptr info)
{
    (void)info;
}

static void write_jpeg_guarded(dn_image_writer *writer, struct jpeg_compress_struct *info,
                               const dn_image *image, FILE *stream)
{
    if (setjmp(writer->jump)) return;
    jpeg_create_compress(info);
    jpeg_stdio_dest(info, stream);
    info->image_width = (JDIMENSION)image->width;
    info->image_height = (JDIMENSION)image->height;
    info->input_components = 3;
    info->in_color_space = JCS_RGB;
    jpeg_set_defaults(info);
    jpeg_set_quality(info, DN_JPEG_QUALITY, TRUE);
    jpeg_start_compress(info, TRUE);
    while (info->next_scanline < info->image_height) {
        JSAMPROW row = image->data + (size_t)info->next_scanline * (size_t)image->width * 3;
        jpeg_write_scanlines(info, &row, 1);
    }
    jpeg_finish_compress(info);
}

static dn_status write_jpeg(const char *path, const dn_image *image, FILE *stream)
{
    if (image->width > DN_JPEG_SIDE_LIMIT || image->height > DN_JPEG_SIDE_LIMIT)
        return dn_fail(DN_ERROR_ARGUMENT, "%s: a JPEG has sides of at most %d, this is %d x %d",
                       path, DN_JPEG_SIDE_LIMIT, image->width, image->height);
    dn_image_writer writer = {.path = path};
    struct jpeg_compress_struct info = {0};
    struct jpeg_error_mgr error;
    info.err = jpeg_std_error(&error);
    info.client_data = &writer;
    error.error_exit = raise_jpeg;
    error.output_message = ignore_jpeg;
    write_jpeg_guarded(&writer, &info, image, stream);
    jpeg_destroy_compress(&info);
    return writer.status;
}

static bool ends_with(const char *path, const char *ending)
{
    const size_t length = strlen(path), size = strlen(ending);
    return length >= size && strcasecmp(path + length - size, ending) == 0;
}

static dn_status write_file(const dn_new_file *file, const dn_image *image)
{
    const dn_status status = ends_with(file->path, ".png")
                                 ? write_png(file->path, image, file->stream)
                                 : write_jpeg(file->path, image, file->stream);
    /* The system's reason says more than the library's "write error". */
    return status == DN_ERROR_IO && ferror(file->stream) ? dn_new_file_fail(file) : status;
}

dn_status dn_image_save(const char *path, const dn_image *image)
{
    if (!ends_with(path, ".png") && !ends_with(path, ".jpg") && !ends_with(path, ".jpeg"))
        return dn_fail(DN_ERROR_ARGUMENT, "%s: the name must end in .png, .jpg or .jpeg", path);
    if (image->width < 1 || image->height < 1 || !image->data)
        return dn_fail(DN_ERROR_ARGUMENT, "%s: the image to save is empty (%d x %d)", path,
                       image->width, image->height);
    dn_new_file file;
    DN_TRY(dn_new_file_open(&file, path, DN_FILE_QUICK));
    return dn_new_file_close(&file, write_file(&file, image));
}
