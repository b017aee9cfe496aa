/* Memory: checked allocation and overflow-safe size products.
 *
 * Every allocation of the library passes through dn_alloc, dn_realloc or dn_free, so that tests can
 * make the n-th one fail (dn_test_fail_allocation in darknet.h). Blocks are 64-byte aligned and
 * zeroed; dn_realloc keeps the old bytes and zeroes none of the new ones.
 */
#ifndef DN_CORE_MEMORY_H
#define DN_CORE_MEMORY_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

/* *out = a zeroed block of `bytes` (at least 1), to be freed with dn_free; DN_ERROR_MEMORY else. */
dn_status dn_alloc(void *out, size_t bytes);

/* Grows or shrinks *block (a pointer variable, NULL allowed) to `bytes`; untouched on failure. */
dn_status dn_realloc(void *block, size_t old_bytes, size_t bytes);

void dn_free(void *block);

/* *out = a copy of the NUL-terminated `text`. */
dn_status dn_strdup(char **out, const char *text);

/* *out = a * b * c * d, or DN_ERROR_CONFIG ("too large") when the product passes `limit`. */
dn_status dn_product(int64_t *out, int64_t limit, int64_t a, int64_t b, int64_t c, int64_t d);

#endif
