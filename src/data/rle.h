/* RLE: the one form in which the library keeps the mask of an instance.
 *
 * A dn_rle (darknet.h) holds COCO's runs: column after column of the original image, first a run of
 * zeros (maybe 0), then ones and zeros in turn, uint32 counts that add up to height * width.
 * Polygons, label images, byte masks and Darknet's row-major runs all become one. Every dn_rle the
 * library makes is canonical, that is, only its first run may be 0, so that equal masks have
 * equal runs and bytes.
 * Limits: height * width <= 2^32 - 1.
 * Source: the published COCO format; results equal pycocotools' (tests/test_masks.py).
 *
 * The public functions are declared in darknet.h; here is what other parts of src/data need to
 * write masks of their own.
 */
#ifndef DN_DATA_RLE_H
#define DN_DATA_RLE_H

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Characters that a run takes in a string at most: 35 bits hold every difference of two uint32. */
enum { DN_RLE_TEXT_OF_RUN = 7 };

/* Collects intervals of ones, given in ascending order, into a canonical dn_rle. */
typedef struct dn_rle_builder {
    dn_rle rle;
    int64_t capacity; /* runs that rle.runs has room for */
    uint32_t end;     /* pixels that the runs so far cover */
} dn_rle_builder;

/* Fails on sizes that no mask can have. `place` opens the message. */
dn_status dn_rle_check_size(const char *place, int32_t height, int32_t width);

/* Fails on run `index`, which begins at pixel `position`, where it leaves an image of size's height
 * and width. */
dn_status dn_rle_check_run(const char *place, int64_t index, uint32_t run, uint32_t position,
                           const dn_rle *size);

/* Fails on what dn_mask_paste cannot paste. */
dn_status dn_paste_check(int32_t side, dn_box box, float threshold);

/* Starts a mask; the size is checked. After success dn_rle_finish must follow. */
dn_status dn_rle_begin(dn_rle_builder *builder, int32_t height, int32_t width);

/* Sets the pixels [begin, end), counted column-major; begin must not lie before the last
 * end. */
dn_status dn_rle_append(dn_rle_builder *builder, uint32_t begin, uint32_t end);

/* Ends the mask: moves it to *out where `status`, the outcome of the steps so far, is DN_OK, and
 * frees it otherwise. Returns `status`, or this step's own failure. */
dn_status dn_rle_finish(dn_rle_builder *builder, dn_status status, dn_rle *out);

/* The pixels of the mask inside `window`, and the smallest box around them (all 0: none); both are
 * x, y, width, height. */
int64_t dn_rle_window(const dn_rle *rle, const int32_t window[4], int32_t box[4]);

/* Pixels that two masks of one size share. */
int64_t dn_rle_shared(const dn_rle *a, const dn_rle *b);

#ifdef __cplusplus
}
#endif

#endif
