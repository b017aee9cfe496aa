/* Memory: checked allocation and size products. See memory.h.
 *
 * Large blocks begin at a huge page and ask the system for such pages: weights and activations are
 * walked with long strides, and each small page costs a fault at first and a translation later.
 */
#define _DEFAULT_SOURCE /* madvise */
#include "core/memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DN_ALIGNMENT = 64, DN_HUGE_PAGE = 2 << 20, DN_LARGE = 4 * DN_HUGE_PAGE };

/* Counts down to the allocation that a test wants to fail; negative: none. */
static atomic_long dn_countdown = -1;

void dn_test_fail_allocation(long n)
{
    atomic_store(&dn_countdown, n);
}

static bool dn_must_fail(void)
{
    if (atomic_load(&dn_countdown) < 0) return false;
    return atomic_fetch_sub(&dn_countdown, 1) == 0;
}

size_t dn_physical_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages <= 0 || page <= 0 ? SIZE_MAX : (size_t)pages * (size_t)page;
}

/* More than this machine has is refused at once: a system that overcommits would grant it, and kill
 * the process when it is touched. */
static bool dn_is_absurd(size_t bytes)
{
    if (bytes < (size_t)1 << 30) return false;
    return bytes > SIZE_MAX - DN_HUGE_PAGE || bytes >= dn_physical_memory();
}

static void *dn_aligned(size_t bytes)
{
    if (bytes == 0) bytes = 1;
    if (dn_is_absurd(bytes) || dn_must_fail()) return NULL;
    const size_t alignment = bytes < DN_LARGE ? DN_ALIGNMENT : DN_HUGE_PAGE;
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void *block = aligned_alloc(alignment, rounded);
#ifdef MADV_HUGEPAGE
    if (block && bytes >= DN_LARGE) madvise(block, rounded, MADV_HUGEPAGE); /* a wish: may fail */
#endif
    return block;
}

static void *dn_checked(void *block, size_t bytes)
{
    if (!block) dn_fail(DN_ERROR_MEMORY, "out of memory: %zu bytes were asked for", bytes);
    return block;
}

void *dn_alloc(size_t bytes)
{
    void *block = dn_checked(dn_aligned(bytes), bytes);
    if (block) memset(block, 0, bytes);
    return block;
}

void *dn_alloc_unset(size_t bytes)
{
    return dn_checked(dn_aligned(bytes), bytes);
}

void *dn_alloc_sparse(size_t bytes)
{
    if (bytes == 0) bytes = 1;
    const size_t rounded = (bytes + DN_ALIGNMENT - 1) / DN_ALIGNMENT * DN_ALIGNMENT;
    const bool refused = dn_is_absurd(bytes) || dn_must_fail();
    return dn_checked(refused ? NULL : aligned_alloc(DN_ALIGNMENT, rounded), bytes);
}

void *dn_realloc(void *block, size_t old_bytes, size_t bytes)
{
    void *grown = dn_checked(dn_aligned(bytes), bytes);
    if (!grown) return NULL;
    if (block) memcpy(grown, block, old_bytes < bytes ? old_bytes : bytes);
    free(block);
    return grown;
}

void dn_free(void *block)
{
    free(block);
}

void dn_buffer_free(void *buffer)
{
    dn_free(buffer);
}

char *dn_strdup(const char *text)
{
    char *copy = dn_alloc(strlen(text) + 1);
    if (copy) memcpy(copy, text, strlen(text));
    return copy;
}

dn_status dn_product(int64_t *out, int64_t limit, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t factors[4] = {a, b, c, d};
    int64_t product = 1;
    for (int i = 0; i < 4; i++) {
        if (factors[i] < 0 || (factors[i] > 0 && product > limit / factors[i]))
            return dn_fail(DN_ERROR_CONFIG,
                           "size %lld x %lld x %lld x %lld is too large (limit %lld)", (long long)a,
                           (long long)b, (long long)c, (long long)d, (long long)limit);
        product *= factors[i];
    }
    *out = product;
    return DN_OK;
}
