/* Errors: one enum, one thread-local message, one function that raises them.
 *
 * The library never exits, aborts or prints. A function that can fail returns dn_status; on
 * failure it leaves its outputs untouched and the calling thread's message says where, what was
 * found and what is allowed, in one sentence without a final newline, e.g.
 *     "cfg/a.cfg:12: [convolutional] stride=0 is out of range 1..64".
 */
#ifndef DN_CORE_STATUS_H
#define DN_CORE_STATUS_H

#include "darknet.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DN_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define DN_PRINTF(text, first)
#endif

/* Sets this thread's message and returns `status`, so that `return dn_fail(...)` raises. */
dn_status dn_fail(dn_status status, const char *format, ...) DN_PRINTF(2, 3);

/* Puts "prefix: " before the current message (a caller that knows the place names it). */
dn_status dn_fail_prefix(dn_status status, const char *format, ...) DN_PRINTF(2, 3);

/* Forwards a failure to the caller. */
#define DN_TRY(expression)                                                                         \
    do {                                                                                           \
        const dn_status dn_try_status = (expression);                                              \
        if (dn_try_status != DN_OK) return dn_try_status;                                          \
    } while (0)

/* As DN_TRY inside a function that cleans up at its label `done` and has a variable `status`. */
#define DN_TRY_GOTO(expression)                                                                    \
    do {                                                                                           \
        status = (expression);                                                                     \
        if (status != DN_OK) goto done;                                                            \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
