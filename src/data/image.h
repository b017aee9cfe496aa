/* Image files: what the decoders share. The public functions are in darknet.h.
 *
 * A file is recognised by its first bytes, never by its name. Decoders work on the whole file in
 * memory, never trust a size before it is checked (dn_image_check_size) and turn every complaint of
 * their library into one sentence that begins with the file's name.
 */
#ifndef DN_DATA_IMAGE_H
#define DN_DATA_IMAGE_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

enum {
    DN_IMAGE_FILE_LIMIT = 1 << 30,
    DN_IMAGE_SIDE_LIMIT = 65535,
    DN_IMAGE_PIXEL_LIMIT = 1 << 28, /* 768 MiB as RGB bytes */
};

/* A file in memory and what an error calls it. */
typedef struct dn_image_file {
    const char *name;
    const uint8_t *bytes; /* (size) */
    size_t size;
} dn_image_file;

/* What a file's headers say. */
typedef struct dn_image_header {
    int32_t width, height; /* as stored, before the orientation is applied */
    int32_t orientation;   /* EXIF's 1..8; 1: as stored */
    bool plain_jpeg;       /* not progressive; Huffman codes, YCbCr of 8 bits */
} dn_image_header;

/* The decoders of one format: only the headers, or all. decode() writes a new image as stored,
 * freed with dn_image_free, and its header; where the format `shrinks`, each pixel can be the mean
 * of shrink x shrink ones (2, 4, 8; sides that are multiples of it). */
typedef struct dn_image_format {
    const char *name;
    bool (*matches)(const dn_image_file *file);
    dn_status (*read_header)(const dn_image_file *file, dn_image_header *header);
    dn_status (*decode)(const dn_image_file *file, int32_t shrink, dn_image_header *header,
                        dn_image *out);
    bool shrinks;
} dn_image_format;

extern const dn_image_format dn_image_jpeg, dn_image_png, dn_image_ppm;

/* Whether other decoders than ours give a file's picture, too: a JPEG file of the plain kind, to be
 * seen as stored. Its size is checked then. */
bool dn_image_is_plain_jpeg(const dn_image_file *file, dn_image_header *header);

/* dn_label_png_load of a file in memory. */
dn_status dn_label_png_read(const dn_image_file *file, uint16_t **labels, int32_t *width,
                            int32_t *height);

/* Refuses sizes below 1 and above the limits; call it before anything is allocated. */
dn_status dn_image_check_size(const char *name, uint64_t width, uint64_t height);

/* An image of a checked size; its pixels are not set. */
dn_status dn_image_alloc(int32_t width, int32_t height, dn_image *out);

/* dn_image_load with both sides divided by *shrink (1, 2, 4 or 8), which becomes a smaller one
 * where the sides are no multiples of it, and 1 where the format cannot do it. A pixel of the
 * result covers exactly shrink x shrink pixels of the whole image. */
dn_status dn_image_load_shrunk(const char *path, int32_t *shrink, dn_image *out);

/* The orientation tag (1..8) of an EXIF block, which begins with a TIFF header; 1 where there is
 * none or the block is damaged. */
int32_t dn_exif_orientation(const uint8_t *block, size_t size);

/* A map from an output's to an image's continuous coordinates:
 * image_x = xx x + xy y + x0, image_y = yx x + yy y + y0. */
typedef struct dn_image_map {
    double xx, xy, x0, yx, yy, y0;
} dn_image_map;

/* The image seen through a map that may turn it; out: planar (3, height, width), 0..1, 0 outside.
 * For maps without a turn dn_image_sample is faster. */
void dn_image_sample_map(const dn_image *image, const dn_image_map *map, int32_t width,
                         int32_t height, float *out);

/* Turns the image as EXIF's orientation 1..8 says. */
dn_status dn_image_orient(dn_image *image, int32_t orientation);

#endif
