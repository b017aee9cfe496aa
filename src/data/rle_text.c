/* COCO's compressed strings of runs, as in "counts" of its JSON files.
 *
 * Every run is one number; from the fourth on the difference to the run two places before, which
 * is the last one of the same value. A number is cut into groups of five bits, low ones first,
 * until the rest repeats the sign; a group is the character 48 + bits, + 32 where more follow.
 */
#include "core/memory.h"
#include "data/rle.h"

#include <string.h>

enum {
    DN_GROUP_MASK = 31,
    DN_GROUP_SIGN = 16,
    DN_GROUP_MORE = 32,
    DN_GROUP_ZERO = 48, /* the character of the group 0 */
    DN_GROUPS_MAX = DN_RLE_TEXT_OF_RUN,
    DN_DELTA_FROM = 3, /* first run that is stored as a difference */
};

/* Writes the groups of `number` where `text` is not NULL; returns how many there are. */
static size_t dn_put_number(char *text, int64_t number)
{
    size_t length = 0;
    for (bool more = true; more; length++) {
        const int group = (int)(number & DN_GROUP_MASK);
        /* Floor division: a right shift of a negative number is not defined by C. */
        number = (number - group) / (DN_GROUP_MASK + 1);
        more = group & DN_GROUP_SIGN ? number != -1 : number != 0;
        if (text) text[length] = (char)(DN_GROUP_ZERO + group + (more ? DN_GROUP_MORE : 0));
    }
    return length;
}

size_t dn_rle_string(const dn_rle *rle, char *text)
{
    size_t length = 0;
    for (int64_t i = 0; i < rle->run_count; i++) {
        const int64_t before = i >= DN_DELTA_FROM ? rle->runs[i - 2] : 0;
        length += dn_put_number(text ? text + length : NULL, rle->runs[i] - before);
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
