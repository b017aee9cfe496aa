/* JPEG files through libjpeg(-turbo). See image.h.
 *
 * libjpeg reports by callbacks: errors jump back to jpeg_guarded, warnings are ignored but for the
 * end of the file before the end of the picture, which is an error here. Nothing is printed. The
 * default decoder settings (accurate integer DCT, smooth chroma) give the pixels that OpenCV gives.
 * Memory inside libjpeg is its own; its failure comes back as DN_ERROR_MEMORY.
 */
#include "data/image.h"

#include "core/memory.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

enum {
    DN_JPEG_SCAN_LIMIT = 500, /* a progressive file has about ten; thousands are an attack */
    /* Huffman codes take a bit at least for each 8x8 block of the finest component: more pixels
     * than this in a byte means that the file is cut, or made to exhaust memory. */
    DN_JPEG_PIXELS_PER_BYTE = 512,
};

typedef struct dn_jpeg {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr error;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    const dn_image_file *file;
    unsigned shrink; /* of the sides: 1, 2, 4, 8 */
    dn_status status;
    uint8_t *ink; /* a row of CMYK samples, or NULL */
    dn_image image;
} dn_jpeg;

static void raise_error(j_common_ptr info)
{
    dn_jpeg *jpeg = info->client_data;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    const int code = info->err->msg_code;
    if (code == JERR_OUT_OF_MEMORY)
        jpeg->status =
            dn_fail(DN_ERROR_MEMORY, "%s: out of memory for the JPEG decoder", jpeg->file->name);
    else if (code == JWRN_JPEG_EOF)
        jpeg->status = dn_fail(DN_ERROR_DATA, "%s: the JPEG file ends early (%zu bytes)",
                               jpeg->file->name, jpeg->file->size);
    else
        jpeg->status = dn_fail(DN_ERROR_DATA, "%s: damaged JPEG: %s", jpeg->file->name, text);
    longjmp(jpeg->jump, 1);
}

static void note_message(j_common_ptr info, int level)
{
    if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) raise_error(info);
}

static void print_nothing(j_common_ptr info)
{
    (void)info;
}

static void limit_scans(j_common_ptr info)
{
    dn_jpeg *jpeg = info->client_data;
    if (jpeg->info.input_scan_number <= DN_JPEG_SCAN_LIMIT) return;
    jpeg->status = dn_fail(DN_ERROR_DATA, "%s: damaged JPEG: more than %d scans", jpeg->file->name,
                           DN_JPEG_SCAN_LIMIT);
    longjmp(jpeg->jump, 1);
}

static int32_t find_orientation(const struct jpeg_decompress_struct *info)
{
    static const char magic[6] = "Exif\0";
    const jpeg_saved_marker_ptr first = info->marker_list;
    for (jpeg_saved_marker_ptr marker = first; marker; marker = marker->next) {
        if (marker->marker == JPEG_APP0 + 1 && marker->data_length > sizeof magic &&
            memcmp(marker->data, magic, sizeof magic) == 0)
            return dn_exif_orientation(marker->data + sizeof magic,
                                       marker->data_length - sizeof magic);
    }
    return 1;
}

/* Whether there are more pixels than codes for them. */
static bool is_too_short(const dn_jpeg *jpeg)
{
    const size_t pixels = (size_t)jpeg->info.image_width * jpeg->info.image_height;
    return !jpeg->info.arith_code && pixels / DN_JPEG_PIXELS_PER_BYTE > jpeg->file->size;
}

static bool is_plain(const dn_jpeg *jpeg)
{
    const struct jpeg_decompress_struct *info = &jpeg->info;
    return info->jpeg_color_space == JCS_YCbCr && info->data_precision == 8 &&
           !info->progressive_mode && !info->arith_code && !is_too_short(jpeg);
}

/* Reads all markers before the picture; may jump. */
static void start(dn_jpeg *jpeg, dn_image_header *header)
{
    struct jpeg_decompress_struct *info = &jpeg->info;
    jpeg_create_decompress(info);
    jpeg->progress.progress_monitor = limit_scans;
    info->progress = &jpeg->progress;
    jpeg_mem_src(info, jpeg->file->bytes, (unsigned long)jpeg->file->size);
    jpeg_save_markers(info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(info, TRUE);
    jpeg->status = dn_image_check_size(jpeg->file->name, info->image_width, info->image_height);
    if (jpeg->status != DN_OK) longjmp(jpeg->jump, 1);
    *header = (dn_image_header){(int32_t)info->image_width, (int32_t)info->image_height,
                                find_orientation(info), is_plain(jpeg)};
}

/* A row of ink to RGB: light is what paper returns times what black leaves. Adobe's files store
 * light instead of ink. */
static void ink_to_rgb(const uint8_t *ink, uint8_t *rgb, int32_t width, bool light)
{
    const uint32_t flip = light ? 0 : 255;
    for (int32_t x = 0; x < width; x++, ink += 4, rgb += 3)
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)(((ink[c] ^ flip) * (ink[3] ^ flip) + 127) / 255);
}

static void fail_memory(dn_jpeg *jpeg)
{
    jpeg->status = DN_ERROR_MEMORY;
    longjmp(jpeg->jump, 1);
}

/* Decodes behind start(); may jump. */
static void read_picture(dn_jpeg *jpeg)
{
    struct jpeg_decompress_struct *info = &jpeg->info;
    if (is_too_short(jpeg)) ERREXIT(info, JWRN_JPEG_EOF);
    const bool inks = info->num_components == 4;
    info->out_color_space = inks ? JCS_CMYK : JCS_RGB;
    info->scale_num = 1;
    info->scale_denom = jpeg->shrink;
    jpeg_calc_output_dimensions(info);
    const int32_t width = (int32_t)info->output_width;
    if (inks && !(jpeg->ink = dn_alloc((size_t)width * 4))) fail_memory(jpeg);
    if (dn_image_alloc(width, (int32_t)info->output_height, &jpeg->image) != DN_OK)
        fail_memory(jpeg);
    jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
        uint8_t *row = jpeg->image.data + (size_t)info->output_scanline * (size_t)width * 3;
        JSAMPROW target = inks ? jpeg->ink : row;
        jpeg_read_scanlines(info, &target, 1);
        if (inks) ink_to_rgb(jpeg->ink, row, width, info->saw_Adobe_marker);
    }
    jpeg_finish_decompress(info);
}

/* Everything that may jump happens inside here, and what it changes lies in `jpeg`. */
static void run_guarded(dn_jpeg *jpeg, dn_image_header *header, bool picture)
{
    if (setjmp(jpeg->jump)) return;
    start(jpeg, header);
    if (picture) read_picture(jpeg);
}

static dn_status run(const dn_image_file *file, int32_t shrink, dn_image_header *header,
                     dn_image *out)
{
    dn_jpeg jpeg = {.file = file, .shrink = (unsigned)shrink};
    dn_image_header found = {0};
    jpeg.info.err = jpeg_std_error(&jpeg.error);
    jpeg.info.client_data = &jpeg;
    jpeg.error.error_exit = raise_error;
    jpeg.error.emit_message = note_message;
    jpeg.error.output_message = print_nothing;
    run_guarded(&jpeg, &found, out != NULL);
    jpeg_destroy_decompress(&jpeg.info);
    dn_free(jpeg.ink);
    if (jpeg.status != DN_OK) {
        dn_image_free(&jpeg.image);
        return jpeg.status;
    }
    *header = found;
    if (out) *out = jpeg.image;
    return DN_OK;
}

static bool matches(const dn_image_file *file)
{
    return file->size >= 3 && memcmp(file->bytes, "\xFF\xD8\xFF", 3) == 0;
}

static dn_status read_header(const dn_image_file *file, dn_image_header *header)
{
    return run(file, 1, header, NULL);
}

static dn_status decode(const dn_image_file *file, int32_t shrink, dn_image_header *header,
                        dn_image *out)
{
    return run(file, shrink, header, out);
}

const dn_image_format dn_image_jpeg = {"JPEG", matches, read_header, decode, true};
