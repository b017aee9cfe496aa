/* Option tables: parsing. See option.h. */
#include "core/option.h"

#include "core/memory.h"
#include "core/number.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool dn_parse_int(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno) return false;
    *out = value;
    return true;
}

bool dn_parse_double(const char *text, double *out)
{
    double value;
    if (!dn_read_number(text, strlen(text), &value) || !isfinite(value)) return false;
    *out = value;
    return true;
}

typedef struct place {
    const dn_cfg *cfg;
    const dn_cfg_section *section;
    const dn_cfg_entry *entry;
} place;

static dn_status bad_value(place at, const char *text, const char *wanted)
{
    return dn_fail(DN_ERROR_CONFIG, "%s:%d: [%s] %s=%s: %s", at.cfg->name, at.entry->line,
                   at.section->name, at.entry->key, text, wanted);
}

static dn_status check_range(place at, const dn_option *option, const char *text, double value)
{
    if (option->minimum == 0 && option->maximum == 0) return DN_OK;
    if (value >= option->minimum && value <= option->maximum) return DN_OK;
    return dn_fail(DN_ERROR_CONFIG, "%s:%d: [%s] %s=%s is out of range %g..%g", at.cfg->name,
                   at.entry->line, at.section->name, at.entry->key, text, option->minimum,
                   option->maximum);
}

/* A whole number may be written as "5." or "5.0", as some published files do. */
static dn_status read_number(place at, const dn_option *option, const char *text, bool whole,
                             double *out)
{
    double value;
    if (!dn_parse_double(text, &value) || (whole && (value != floor(value) || fabs(value) > 2e9)))
        return bad_value(at, text, whole ? "a whole number is wanted" : "a number is wanted");
    DN_TRY(check_range(at, option, text, value));
    *out = value;
    return DN_OK;
}

static dn_status read_choice(place at, const dn_option *option, int32_t *out)
{
    char wanted[512] = "one of";
    for (int32_t i = 0; option->choices[i]; i++) {
        if (strcmp(option->choices[i], at.entry->value) == 0) {
            *out = i;
            return DN_OK;
        }
        if (strlen(wanted) + strlen(option->choices[i]) + 2 < sizeof wanted) {
            strcat(wanted, " ");
            strcat(wanted, option->choices[i]);
        }
    }
    return bad_value(at, at.entry->value, wanted);
}

/* A comma list; a trailing comma is forgiven, an empty item in the middle is not. */
static dn_status read_list(place at, const dn_option *option, double **out, int32_t *count)
{
    char *text = dn_strdup(at.entry->value);
    double *items = text ? dn_alloc((strlen(text) + 1) * sizeof *items) : NULL;
    dn_status status = items ? DN_OK : DN_ERROR_MEMORY;
    int32_t n = 0;
    char *next = NULL;
    for (char *item = text; items && item && *item && status == DN_OK; item = next) {
        next = strchr(item, ',');
        if (next) *next++ = '\0';
        status =
            n < DN_CFG_ITEMS
                ? read_number(at, option, item, option->type == DN_OPTION_INTS, &items[n])
                : dn_fail(DN_ERROR_CONFIG, "%s:%d: [%s] %s has more than %d items", at.cfg->name,
                          at.entry->line, at.section->name, at.entry->key, DN_CFG_ITEMS);
        n++;
    }
    dn_free(text);
    if (status != DN_OK) {
        dn_free(items);
        return status;
    }
    *out = items;
    *count = n;
    return DN_OK;
}

static dn_status store_list(place at, const dn_option *option, char *field)
{
    double *items = NULL;
    int32_t count = 0;
    DN_TRY(read_list(at, option, &items, &count));
    int32_t *ints = option->type == DN_OPTION_INTS ? dn_alloc((size_t)count * sizeof *ints) : NULL;
    float *floats =
        option->type == DN_OPTION_FLOATS ? dn_alloc((size_t)count * sizeof *floats) : NULL;
    if (!ints && !floats) {
        dn_free(items);
        return DN_ERROR_MEMORY;
    }
    for (int32_t i = 0; i < count; i++) {
        if (ints) ints[i] = (int32_t)items[i];
        if (floats) floats[i] = (float)items[i];
    }
    dn_free(items);
    if (ints) *(dn_ints *)(void *)field = (dn_ints){count, ints};
    if (floats) *(dn_floats *)(void *)field = (dn_floats){count, floats};
    return DN_OK;
}

static dn_status store(place at, const dn_option *option, char *field)
{
    double number = option->initial;
    int32_t choice = (int32_t)option->initial;
    switch (option->type) {
    case DN_OPTION_INT:
        if (at.entry) DN_TRY(read_number(at, option, at.entry->value, true, &number));
        *(int32_t *)(void *)field = (int32_t)number;
        return DN_OK;
    case DN_OPTION_FLOAT:
        if (at.entry) DN_TRY(read_number(at, option, at.entry->value, false, &number));
        *(float *)(void *)field = (float)number;
        return DN_OK;
    case DN_OPTION_FLAG:
        if (at.entry) DN_TRY(read_number(at, option, at.entry->value, true, &number));
        *(bool *)field = number != 0;
        return DN_OK;
    case DN_OPTION_CHOICE:
        if (at.entry) DN_TRY(read_choice(at, option, &choice));
        *(int32_t *)(void *)field = choice;
        return DN_OK;
    case DN_OPTION_INTS:
    case DN_OPTION_FLOATS:
        return at.entry ? store_list(at, option, field) : DN_OK;
    case DN_OPTION_TEXT:
        *(const char **)(void *)field = at.entry ? at.entry->value : NULL;
        return DN_OK;
    case DN_OPTION_IGNORED:
        return DN_OK;
    }
    return DN_OK;
}

dn_status dn_options_parse(const dn_option *table, const dn_cfg *cfg, dn_cfg_section *section,
                           void *options)
{
    for (const dn_option *option = table; option->key; option++) {
        dn_cfg_entry *entry = dn_cfg_find(section, option->key);
        if (entry) entry->used = true;
        DN_TRY(store((place){cfg, section, entry}, option, (char *)options + option->offset));
    }
    return DN_OK;
}

void dn_options_free(const dn_option *table, void *options)
{
    if (!options) return;
    for (const dn_option *option = table; option->key; option++) {
        void *field = (char *)options + option->offset;
        if (option->type == DN_OPTION_INTS) dn_free(((dn_ints *)field)->items);
        if (option->type == DN_OPTION_FLOATS) dn_free(((dn_floats *)field)->items);
    }
}
