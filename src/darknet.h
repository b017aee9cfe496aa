/* YOLO-Mask's public C API: the only installed header.
 *
 * Conventions. Functions that can fail return dn_status and leave their outputs untouched on
 * failure; dn_error_message() then holds one sentence for this thread. Handles are freed by the
 * function named at their creator. Images are interleaved 8-bit RGB; boxes are continuous pixel
 * coordinates (pixel i covers [i, i+1)). The definitions between the cffi marks are read by the
 * Python package as they stand: plain C declarations only (DN_API is removed).
 */
#ifndef DARKNET_H
#define DARKNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DN_API __attribute__((visibility("default")))
#else
#define DN_API
#endif

/* cffi: begin */

/* Changes whenever a declaration below does in a way that an old caller would misread. */
enum { DN_ABI_VERSION = 1 };
DN_API int dn_abi_version(void); /* what the library was built with */

typedef enum dn_status {
    DN_OK = 0,
    DN_ERROR_CONFIG,    /* a .cfg, .data or option that makes no sense */
    DN_ERROR_WEIGHTS,   /* a weights file that is damaged or does not fit */
    DN_ERROR_DATA,      /* an image, label, list or JSON that cannot be used */
    DN_ERROR_IO,        /* the operating system refused: open, read, write, rename */
    DN_ERROR_MEMORY,    /* out of memory */
    DN_ERROR_DEVICE,    /* a GPU or its libraries */
    DN_ERROR_ARGUMENT,  /* the caller's mistake */
    DN_ERROR_CANCELLED, /* the caller's cancel callback asked to stop */
} dn_status;

/* The calling thread's last failure in one sentence; valid until its next failure. */
DN_API const char *dn_error_message(void);

/* Frees a plain array that the library handed out; NULL is allowed. */
DN_API void dn_buffer_free(void *buffer);

/* Tests only: the n-th allocation from now (0: the next) fails once; negative: none. */
DN_API void dn_test_fail_allocation(long n);

/* ---- Masks ----
 * The mask of an instance is a dn_rle at the size of the original image, in COCO's runs: column
 * after column, first a run of zeros (maybe 0), then ones and zeros in turn. Masks made here have
 * no other empty run, so equal masks have equal runs. The functions that make one write a struct of
 * the caller's, whose runs dn_rle_free frees; what it held before is overwritten, not freed. */
typedef struct dn_rle {
    int32_t height, width; /* of the image; height * width < 2^32 */
    int64_t run_count;
    uint32_t *runs; /* (run_count), their sum is height * width */
} dn_rle;

typedef enum dn_mask_order {
    DN_ROW_MAJOR,    /* (height, width) */
    DN_COLUMN_MAJOR, /* (width, height) */
} dn_mask_order;

typedef enum dn_mask_rule {
    DN_MASK_UNION,
    DN_MASK_INTERSECTION,
} dn_mask_rule;

/* Frees the runs and clears the struct; NULL is allowed. */
DN_API void dn_rle_free(dn_rle *rle);

/* Frees an array that dn_rles_from_labels made. */
DN_API void dn_rles_free(dn_rle *masks, int64_t count);

/* From COCO's runs, which must cover the image exactly. Also the way to copy a mask. */
DN_API dn_status dn_rle_from_runs(dn_rle *out, int32_t height, int32_t width, const uint32_t *runs,
                                  int64_t run_count);

/* From the runs of Darknet's mask files: row-major, zeros first; pixels after the last run take the
 * next value. */
DN_API dn_status dn_rle_from_row_runs(dn_rle *out, int32_t height, int32_t width,
                                      const uint32_t *runs, int64_t run_count);

/* From COCO's compressed "counts", NUL-terminated. */
DN_API dn_status dn_rle_from_string(dn_rle *out, int32_t height, int32_t width, const char *text);

/* From bytes: every value but 0 is inside. */
DN_API dn_status dn_rle_from_mask(dn_rle *out, const uint8_t *mask, int32_t height, int32_t width,
                                  dn_mask_order order);

/* The pixels of a label image, (height, width), that equal `value`. */
DN_API dn_status dn_rle_from_labels(dn_rle *out, const uint16_t *labels, int32_t height,
                                    int32_t width, uint16_t value);

/* One mask for every label but 0 that occurs, by ascending label: *out (freed with dn_rles_free)
 * and *values (freed with dn_buffer_free) get *count entries. */
DN_API dn_status dn_rles_from_labels(dn_rle **out, uint16_t **values, int64_t *count,
                                     const uint16_t *labels, int32_t height, int32_t width);

/* COCO's compressed string. Returns its length without the final NUL; writes it, with the NUL,
 * where `text` is not NULL (ask for the length first). */
DN_API size_t dn_rle_string(const dn_rle *rle, char *text);

/* Fills mask, height * width bytes, with 0 and 1. */
DN_API void dn_rle_decode(const dn_rle *rle, uint8_t *mask, dn_mask_order order);

DN_API int64_t dn_rle_area(const dn_rle *rle);

/* box = x, y, width, height of the smallest box of whole pixels around the mask; all 0 if empty. */
DN_API void dn_rle_bounds(const dn_rle *rle, int32_t box[4]);

/* Union or intersection of count >= 1 masks of one size. */
DN_API dn_status dn_rle_merge(dn_rle *out, const dn_rle *masks, int64_t count, dn_mask_rule rule);

/* Intersection over union, or over the detection's area where the truth is a crowd region. */
DN_API dn_status dn_rle_iou(double *out, const dn_rle *detection, const dn_rle *truth, bool crowd);

/* The same for all pairs: out is (detection_count, truth_count); crowd is (truth_count) or NULL. */
DN_API dn_status dn_rle_ious(double *out, const dn_rle *detections, int64_t detection_count,
                             const dn_rle *truths, int64_t truth_count, const uint8_t *crowd);

/* cffi: end */

#ifdef __cplusplus
}
#endif

#endif
