/* Memory: checked allocation and overflow-safe size products.
 *
 * Every allocation of the library passes through dn_alloc and dn_realloc, so that tests can
 * make the n-th one fail (dn_test_fail_allocation in darknet.h). Blocks are 64-byte aligned and
 * zeroed; dn_realloc keeps the old bytes and zeroes none of the new ones.
 */
#ifndef DN_CORE_MEMORY_H
#define DN_CORE_MEMORY_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A zeroed block of `bytes` (at least 1), to be freed with dn_free. NULL when there is none: the
 * message is set, the caller returns DN_ERROR_MEMORY. */
void *dn_alloc(size_t bytes);

/* The same without zeros: pages that nobody writes take no room. */
void *dn_alloc_unset(size_t bytes);

/* The same in small pages, for blocks of which parts are never written. */
void *dn_alloc_sparse(size_t bytes);

/* A block of `bytes` that begins with the old one's bytes; the old block is freed. NULL on failure:
 * the old block is untouched and still the caller's. `block` may be NULL. */
void *dn_realloc(void *block, size_t old_bytes, size_t bytes);

void dn_free(void *block);

/* Bytes of memory that this machine has; SIZE_MAX where it does not say. */
size_t dn_physical_memory(void);

/* A copy of the NUL-terminated `text`; NULL on failure as above. */
char *dn_strdup(const char *text);

/* *out = a * b * c * d, or DN_ERROR_CONFIG ("too large") when the product passes `limit`. */
dn_status dn_product(int64_t *out, int64_t limit, int64_t a, int64_t b, int64_t c, int64_t d);

#ifdef __cplusplus
}
#endif

#endif
