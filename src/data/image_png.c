/* PNG files through libpng: pictures, and label images for instance masks. See image.h.
 *
 * libpng reports by callbacks: errors jump back to run_guarded, warnings are ignored. Its memory
 * comes from dn_alloc. Pictures become 8-bit RGB: gray is replicated, palettes are looked up, of 16
 * bits the upper eight stay (as OpenCV does), alpha and transparent colours are dropped, gamma is
 * left alone. Labels keep their numbers: gray of 1..16 bits as stored, palettes as indices.
 */
#include "data/image.h"

#include "core/cfg.h"
#include "core/memory.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

enum {
    DN_PNG_SIGNATURE = 8,
    DN_PNG_IHDR_END = 24, /* signature, length, "IHDR", width, height */
    /* Deflate cannot pack more bytes than this into one: what claims more is cut, or made to
     * exhaust memory. */
    DN_PNG_BYTES_PER_BYTE = 1032,
    DN_LABEL_FILE_LIMIT = 1 << 30,
};

typedef enum dn_png_goal {
    DN_PNG_HEADER,
    DN_PNG_PICTURE,
    DN_PNG_LABELS,
} dn_png_goal;

typedef struct dn_png {
    png_structp png;
    png_infop info;
    jmp_buf jump;
    const dn_image_file *file;
    size_t cursor;
    bool out_of_memory;
    dn_status status;
    dn_image_header header;
    dn_image image;
    uint8_t *row; /* of stored labels */
    uint16_t *labels;
} dn_png;

static void raise_error(png_structp png, png_const_charp text)
{
    dn_png *self = png_get_error_ptr(png);
    if (self->out_of_memory)
        self->status = DN_ERROR_MEMORY; /* dn_alloc has set the message */
    else
        self->status = dn_fail(DN_ERROR_DATA, "%s: damaged PNG: %s", self->file->name, text);
    longjmp(self->jump, 1);
}

static void ignore_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static png_voidp allocate(png_structp png, png_alloc_size_t size)
{
    dn_png *self = png_get_mem_ptr(png);
    void *block = dn_alloc(size);
    if (!block) self->out_of_memory = true;
    return block;
}

static void release(png_structp png, png_voidp block)
{
    (void)png;
    dn_free(block);
}

/* Leaves with a status whose message is set. */
static void leave(dn_png *self, dn_status status)
{
    self->status = status;
    longjmp(self->jump, 1);
}

static void leave_cut(dn_png *self)
{
    leave(self, dn_fail(DN_ERROR_DATA, "%s: the PNG file ends early (%zu bytes)", self->file->name,
                        self->file->size));
}

static void read_bytes(png_structp png, png_bytep out, size_t size)
{
    dn_png *self = png_get_io_ptr(png);
    if (size > self->file->size - self->cursor) leave_cut(self);
    memcpy(out, self->file->bytes + self->cursor, size);
    self->cursor += size;
}

static uint32_t read_32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Reads all chunks before the pixels; may jump. */
static void start(dn_png *self)
{
    const dn_image_file *file = self->file;
    if (file->size < DN_PNG_IHDR_END) leave_cut(self);
    if (memcmp(file->bytes + 12, "IHDR", 4) != 0)
        leave(self,
              dn_fail(DN_ERROR_DATA, "%s: damaged PNG: no IHDR at its beginning", file->name));
    const uint32_t width = read_32(file->bytes + 16), height = read_32(file->bytes + 20);
    const dn_status status = dn_image_check_size(file->name, width, height);
    if (status != DN_OK) leave(self, status);
    self->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, self, raise_error, ignore_warning,
                                         self, allocate, release);
    if (self->png) self->info = png_create_info_struct(self->png);
    if (!self->info)
        leave(self, self->out_of_memory ? DN_ERROR_MEMORY
                                        : dn_fail(DN_ERROR_DATA, "%s: libpng does not start (%s)",
                                                  file->name, PNG_LIBPNG_VER_STRING));
    png_set_read_fn(self->png, self, read_bytes);
    png_read_info(self->png, self->info);
    self->header =
        (dn_image_header){.width = (int32_t)width, .height = (int32_t)height, .orientation = 1};
#ifdef PNG_eXIf_SUPPORTED
    png_uint_32 size;
    png_bytep block;
    if (png_get_eXIf_1(self->png, self->info, &size, &block))
        self->header.orientation = dn_exif_orientation(block, size);
#endif
}

/* Before the pixels' memory is asked for: can the file hold so many? */
static void check_length(dn_png *self)
{
    const size_t stored = png_get_rowbytes(self->png, self->info) * (size_t)self->header.height;
    if (stored / DN_PNG_BYTES_PER_BYTE > self->file->size) leave_cut(self);
}

static void read_picture(dn_png *self)
{
    check_length(self);
    png_set_palette_to_rgb(self->png);
    png_set_expand_gray_1_2_4_to_8(self->png);
    png_set_strip_16(self->png);
    png_set_strip_alpha(self->png);
    png_set_gray_to_rgb(self->png);
    const int passes = png_set_interlace_handling(self->png);
    png_read_update_info(self->png, self->info);
    const size_t row_bytes = (size_t)self->header.width * 3;
    if (png_get_rowbytes(self->png, self->info) != row_bytes)
        png_error(self->png, "unexpected sample layout");
    if (dn_image_alloc(self->header.width, self->header.height, &self->image) != DN_OK)
        leave(self, DN_ERROR_MEMORY);
    for (int pass = 0; pass < passes; pass++)
        for (int32_t y = 0; y < self->header.height; y++)
            png_read_row(self->png, self->image.data + (size_t)y * row_bytes, NULL);
    png_read_end(self->png, NULL);
}

static void read_labels(dn_png *self)
{
    const int type = png_get_color_type(self->png, self->info);
    const size_t width = (size_t)self->header.width, height = (size_t)self->header.height;
    if (type != PNG_COLOR_TYPE_GRAY && type != PNG_COLOR_TYPE_PALETTE)
        leave(self, dn_fail(DN_ERROR_DATA,
                            "%s: a label image has one channel (gray or palette), this one has %d",
                            self->file->name, png_get_channels(self->png, self->info)));
    check_length(self);
    png_set_packing(self->png);
    const int passes = png_set_interlace_handling(self->png);
    png_read_update_info(self->png, self->info);
    const bool wide = png_get_bit_depth(self->png, self->info) == 16;
    const size_t row_bytes = png_get_rowbytes(self->png, self->info);
    /* All rows are kept: an interlaced file fills them in several passes. */
    self->row = dn_alloc(row_bytes * height);
    if (self->row) self->labels = dn_alloc(width * height * sizeof *self->labels);
    if (!self->labels) leave(self, DN_ERROR_MEMORY);
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < height; y++)
            png_read_row(self->png, self->row + y * row_bytes, NULL);
    png_read_end(self->png, NULL);
    for (size_t i = 0; i < width * height; i++) {
        const uint8_t *from = self->row + i * (wide ? 2 : 1);
        self->labels[i] = (uint16_t)(wide ? from[0] << 8 | from[1] : from[0]);
    }
}

/* Everything that may jump happens inside here, and what it changes lies in `self`. */
static void run_guarded(dn_png *self, dn_png_goal goal)
{
    if (setjmp(self->jump)) return;
    start(self);
    if (goal == DN_PNG_PICTURE) read_picture(self);
    if (goal == DN_PNG_LABELS) read_labels(self);
    /* libpng skips an optional chunk that found no memory; we do not. */
    if (self->out_of_memory) self->status = DN_ERROR_MEMORY;
}

/* Runs to the goal; the pixels or labels in `self` are the caller's. */
static dn_status run(dn_png *self, dn_png_goal goal)
{
    run_guarded(self, goal);
    png_destroy_read_struct(self->png ? &self->png : NULL, self->info ? &self->info : NULL, NULL);
    dn_free(self->row);
    if (self->status != DN_OK) {
        dn_image_free(&self->image);
        dn_free(self->labels);
    }
    return self->status;
}

static bool matches(const dn_image_file *file)
{
    return file->size >= DN_PNG_SIGNATURE &&
           memcmp(file->bytes, "\x89PNG\r\n\x1a\n", DN_PNG_SIGNATURE) == 0;
}

static dn_status read_header(const dn_image_file *file, dn_image_header *header)
{
    dn_png self = {.file = file};
    DN_TRY(run(&self, DN_PNG_HEADER));
    *header = self.header;
    return DN_OK;
}

static dn_status decode(const dn_image_file *file, int32_t shrink, dn_image_header *header,
                        dn_image *out)
{
    (void)shrink;
    dn_png self = {.file = file};
    DN_TRY(run(&self, DN_PNG_PICTURE));
    *header = self.header;
    *out = self.image;
    return DN_OK;
}

const dn_image_format dn_image_png = {"PNG", matches, read_header, decode, false};

dn_status dn_label_png_read(const dn_image_file *file, uint16_t **labels, int32_t *width,
                            int32_t *height)
{
    if (!matches(file))
        return dn_fail(DN_ERROR_DATA, "%s: the content is no PNG label image", file->name);
    dn_png self = {.file = file};
    DN_TRY(run(&self, DN_PNG_LABELS));
    *labels = self.labels;
    *width = self.header.width;
    *height = self.header.height;
    return DN_OK;
}

dn_status dn_label_png_load(const char *path, uint16_t **labels, int32_t *width, int32_t *height)
{
    char *bytes;
    size_t size;
    DN_TRY(dn_read_file(path, DN_LABEL_FILE_LIMIT, &bytes, &size));
    const dn_image_file file = {path, (const uint8_t *)bytes, size};
    const dn_status status = dn_label_png_read(&file, labels, width, height);
    dn_free(bytes);
    return status;
}
