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

/* Tests only: the n-th allocation from now (0: the next) fails once; negative: none. */
DN_API void dn_test_fail_allocation(long n);

/* cffi: end */

#ifdef __cplusplus
}
#endif

#endif
