/* Option tables: what a .cfg section may hold, written once.
 *
 * A table row gives key, type, default, range and one line of documentation. From it come parsing
 * into a plain struct, range checks, errors with file and line, the warning (or, when strict, the
 * error) for unknown keys, and docs/cfg-reference.md. A table ends with a row whose key is NULL.
 */
#ifndef DN_CORE_OPTION_H
#define DN_CORE_OPTION_H

#include "core/cfg.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dn_option_type {
    DN_OPTION_INT,    /* int32_t */
    DN_OPTION_FLOAT,  /* float */
    DN_OPTION_FLAG,   /* bool: 0 or 1 */
    DN_OPTION_CHOICE, /* int32_t: index into `choices`, a NULL-terminated list */
    DN_OPTION_INTS,   /* dn_ints */
    DN_OPTION_FLOATS, /* dn_floats */
    DN_OPTION_TEXT,   /* const char *: owned by the dn_cfg; NULL when absent */
    DN_OPTION_IGNORED /* accepted for compatibility, has no effect */
} dn_option_type;

typedef struct dn_ints {
    int32_t count;
    int32_t *items;
} dn_ints;

typedef struct dn_floats {
    int32_t count;
    float *items;
} dn_floats;

typedef struct dn_option {
    const char *key;
    dn_option_type type;
    size_t offset;  /* of the field in the options struct */
    double initial; /* default of numbers, flags and choices (an index) */
    double minimum; /* of numbers and list items; unchecked where both are 0 */
    double maximum;
    const char *const *choices;
    const char *doc;
} dn_option;

/* Rows of a table, kept short. `s` is the options struct, `f` the field. */
#define DN_INT(s, f, key, initial, low, high, doc)                                                 \
    {key, DN_OPTION_INT, offsetof(s, f), initial, low, high, NULL, doc}
#define DN_FLOAT(s, f, key, initial, low, high, doc)                                               \
    {key, DN_OPTION_FLOAT, offsetof(s, f), initial, low, high, NULL, doc}
#define DN_FLAG(s, f, key, initial, doc)                                                           \
    {key, DN_OPTION_FLAG, offsetof(s, f), initial, 0, 1, NULL, doc}
#define DN_CHOICE(s, f, key, initial, choices, doc)                                                \
    {key, DN_OPTION_CHOICE, offsetof(s, f), initial, 0, 0, choices, doc}
#define DN_INTS(s, f, key, low, high, doc)                                                         \
    {key, DN_OPTION_INTS, offsetof(s, f), 0, low, high, NULL, doc}
#define DN_FLOATS(s, f, key, low, high, doc)                                                       \
    {key, DN_OPTION_FLOATS, offsetof(s, f), 0, low, high, NULL, doc}
#define DN_TEXT(s, f, key, doc) {key, DN_OPTION_TEXT, offsetof(s, f), 0, 0, 0, NULL, doc}
#define DN_IGNORED(key, doc)    {key, DN_OPTION_IGNORED, 0, 0, 0, 0, NULL, doc}
#define DN_OPTIONS_END          {NULL, DN_OPTION_IGNORED, 0, 0, 0, 0, NULL, NULL}

/* Fills the struct at `options` (zeroed by the caller) from the section and marks the entries it
 * knew as used. Lists are owned by the struct: dn_options_free. */
dn_status dn_options_parse(const dn_option *table, const dn_cfg *cfg, dn_cfg_section *section,
                           void *options);
void dn_options_free(const dn_option *table, void *options);

/* Strict numbers: the whole text must be one, decimal, finite. false otherwise. */
bool dn_parse_int(const char *text, int64_t *out);
bool dn_parse_double(const char *text, double *out);

#ifdef __cplusplus
}
#endif

#endif
