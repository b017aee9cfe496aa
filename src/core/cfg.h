/* Darknet's .cfg text as sections of key=value pairs with their line numbers.
 *
 * Rules (docs/formats.md): white space is deleted anywhere in a line; a line that starts with '#'
 * or ';' and what follows " #" after a value are comments; "[name]" opens a section; all else is
 * key=value. Of a key given twice the first one counts. What Darknet accepts in silence and then
 * trips over (a line without '=', a key before the first section) is an error with file and line.
 */
#ifndef DN_CORE_CFG_H
#define DN_CORE_CFG_H

#include "core/status.h"

/* Far beyond every published cfg (40 KB, 400 sections), and small enough that time, which for some
 * steps grows with the square of these, stays short whatever the file. */
enum {
    DN_CFG_LIMIT = 1 << 20, /* bytes of the file */
    DN_CFG_SECTIONS = 4096,
    DN_CFG_KEYS = 1024,   /* of a section */
    DN_CFG_ITEMS = 65536, /* of a list: counters_per_class has one a class */
};

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dn_cfg_entry {
    char *key;
    char *value;
    int32_t line;
    bool used;     /* an option table knew it */
    bool repeated; /* an earlier line of the section has the same key: ignored */
} dn_cfg_entry;

typedef struct dn_cfg_section {
    char *name; /* without brackets */
    int32_t line;
    int32_t entry_count;
    dn_cfg_entry *entries;
} dn_cfg_section;

typedef struct dn_cfg {
    char *name; /* for messages: the path */
    int32_t section_count;
    dn_cfg_section *sections;
} dn_cfg;

/* Reads a file. *out is freed with dn_cfg_free. A .data file is the same text with keys before any
 * section: with `headless` they form one section named "", and blanks inside values, which are
 * paths, stay. */
dn_status dn_cfg_read(const char *path, bool headless, dn_cfg **out);
void dn_cfg_free(dn_cfg *cfg);

/* The section's first entry with this key, or NULL. */
dn_cfg_entry *dn_cfg_find(const dn_cfg_section *section, const char *key);

/* *out = the file's bytes with a NUL behind them (to be freed with dn_free), *length without it;
 * DN_ERROR_DATA where the file has more than `limit` bytes. */
dn_status dn_read_file(const char *path, size_t limit, char **out, size_t *length);

#ifdef __cplusplus
}
#endif

#endif
