/* COCO's compressed strings of runs, as in "counts" of its JSON files.
 * How a number is written: math/rle_text.h.
 */
#include "math/rle_text.h"
#include "core/memory.h"
#include "data/rle.h"

#include <string.h>

enum { DN_GROUPS_MAX = DN_RLE_TEXT_OF_RUN };

size_t dn_rle_string(const dn_rle *rle, char *text)
{
    size_t length = 0;
    for (int64_t i = 0; i < rle->run_count; i++) {
        const int64_t before = i >= DN_DELTA_FROM ? rle->runs[i - 2] : 0;
        length += dn_rle_put_number(text ? text + length : NULL, rle->runs[i] - before);
    }
    if (text) text[length] = '\0';
    return length;
}

/* Reads one number; *at goes behind it. */
static dn_status dn_take_number(const char *text, size_t *at, int64_t *number)
{
    const size_t start = *at;
    int64_t value = 0, unit = 1;
    for (int groups = 1;; groups++) {
        const int code = (unsigned char)text[*at] - DN_GROUP_ZERO;
        if (text[*at] == '\0')
            return dn_fail(DN_ERROR_DATA, "RLE string: it ends inside the number at character %zu",
                           start);
        if (code < 0 || code >= 2 * DN_GROUP_MORE)
            return dn_fail(DN_ERROR_DATA,
                           "RLE string: byte 0x%02x at character %zu; allowed are '0' to 'o'",
                           (unsigned)(unsigned char)text[*at], *at);
        ++*at;
        value += (code & DN_GROUP_MASK) * unit;
        unit *= DN_GROUP_MASK + 1;
        if (!(code & DN_GROUP_MORE)) {
            *number = code & DN_GROUP_SIGN ? value - unit : value;
            return DN_OK;
        }
        if (groups == DN_GROUPS_MAX)
            return dn_fail(DN_ERROR_DATA,
                           "RLE string: the number at character %zu has more than %d groups", start,
                           DN_GROUPS_MAX);
    }
}

dn_status dn_rle_from_string(dn_rle *out, int32_t height, int32_t width, const char *text)
{
    DN_TRY(dn_rle_check_size("RLE string", height, width));
    const size_t length = strlen(text);
    uint32_t *runs = dn_alloc(length * sizeof *runs); /* a run has at least one character */
    if (!runs) return DN_ERROR_MEMORY;

    dn_status status = DN_OK;
    int64_t count = 0;
    for (size_t at = 0; at < length; count++) {
        int64_t run = 0;
        DN_TRY_GOTO(dn_take_number(text, &at, &run));
        if (count >= DN_DELTA_FROM) run += runs[count - 2];
        if (run < 0 || run > UINT32_MAX) {
            status = dn_fail(DN_ERROR_DATA, "RLE string: run %lld is %lld, allowed is 0..%u",
                             (long long)count, (long long)run, UINT32_MAX);
            goto done;
        }
        runs[count] = (uint32_t)run;
    }
    status = dn_rle_from_runs(out, height, width, runs, count);
done:
    dn_free(runs);
    return status;
}
