/* Darknet's .cfg text: the reader. See cfg.h. */
#include "core/cfg.h"

#include "core/memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

dn_status dn_read_file(const char *path, size_t limit, char **out, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (!file) return dn_fail(DN_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    struct stat info;
    dn_status status = DN_OK;
    char *text = NULL;
    if (fstat(fileno(file), &info) != 0 || S_ISDIR(info.st_mode)) {
        status = dn_fail(DN_ERROR_IO, "%s: is a directory, a file is wanted", path);
    } else if ((uintmax_t)info.st_size > limit) {
        status = dn_fail(DN_ERROR_DATA, "%s: has %jd bytes, at most %zu are allowed", path,
                         (intmax_t)info.st_size, limit);
    } else if (!(text = dn_alloc((size_t)info.st_size + 1))) {
        status = DN_ERROR_MEMORY;
    } else {
        *length = fread(text, 1, (size_t)info.st_size, file);
        if (ferror(file))
            status = dn_fail(DN_ERROR_IO, "%s: cannot read: %s", path, strerror(errno));
    }
    fclose(file);
    if (status != DN_OK) {
        dn_free(text);
        return status;
    }
    *out = text;
    return DN_OK;
}

dn_cfg_entry *dn_cfg_find(const dn_cfg_section *section, const char *key)
{
    for (int32_t i = 0; i < section->entry_count; i++)
        if (strcmp(section->entries[i].key, key) == 0) return &section->entries[i];
    return NULL;
}

/* Removes comments and white space from `line` in place; in values only around them where
 * `keep_blanks` is set. */
static void strip(char *line, bool keep_blanks)
{
    char *to = line, *value = NULL;
    for (const char *from = line; *from; from++) {
        const bool blank = *from == ' ' || *from == '\t' || *from == '\r' || *from == '\n';
        if (blank && from[1] == '#') break;
        if (!blank || (keep_blanks && value && to > value)) *to++ = *from;
        if (*from == '=' && !value) value = to;
    }
    while (to > line && strchr(" \t\r\n", to[-1])) to--;
    *to = '\0';
    if (*line == '#' || *line == ';') *line = '\0';
}

/* Appends a zeroed item to an array that doubles at powers of two; NULL when memory is out. */
static void *append(void *items, int32_t *count, size_t item_size, void **out_items)
{
    char *grown = items;
    if ((*count & (*count - 1)) == 0) {
        const size_t capacity = *count ? 2 * (size_t)*count : 1;
        grown = dn_realloc(items, (size_t)*count * item_size, capacity * item_size);
        if (!grown) return NULL;
        *out_items = grown;
    }
    char *item = grown + (size_t)*count * item_size;
    memset(item, 0, item_size);
    *count += 1;
    return item;
}

static dn_status add_section(dn_cfg *cfg, const char *name, size_t length, int32_t line)
{
    if (cfg->section_count == DN_CFG_SECTIONS)
        return dn_fail(DN_ERROR_CONFIG, "%s:%d: more than %d sections", cfg->name, line,
                       DN_CFG_SECTIONS);
    void *items = cfg->sections;
    dn_cfg_section *section = append(items, &cfg->section_count, sizeof *section, &items);
    cfg->sections = items;
    if (!section) return DN_ERROR_MEMORY;
    section->line = line;
    section->name = dn_alloc(length + 1);
    if (!section->name) return DN_ERROR_MEMORY;
    memcpy(section->name, name, length);
    return DN_OK;
}

static dn_status add_entry(dn_cfg *cfg, char *text, int32_t line)
{
    if (cfg->section_count == 0)
        return dn_fail(DN_ERROR_CONFIG, "%s:%d: '%s' stands before the first [section]", cfg->name,
                       line, text);
    char *equals = strchr(text, '=');
    if (!equals || equals == text || equals[1] == '\0')
        return dn_fail(DN_ERROR_CONFIG, "%s:%d: '%s' is not of the form key=value", cfg->name, line,
                       text);
    *equals = '\0';
    dn_cfg_section *section = &cfg->sections[cfg->section_count - 1];
    if (section->entry_count == DN_CFG_KEYS)
        return dn_fail(DN_ERROR_CONFIG, "%s:%d: [%s] has more than %d keys", cfg->name, line,
                       section->name, DN_CFG_KEYS);
    const bool repeated = dn_cfg_find(section, text) != NULL;
    void *items = section->entries;
    dn_cfg_entry *entry = append(items, &section->entry_count, sizeof *entry, &items);
    section->entries = items;
    if (!entry) return DN_ERROR_MEMORY;
    entry->line = line;
    entry->repeated = repeated;
    entry->value = dn_strdup(equals + 1);
    entry->key = dn_strdup(text);
    return entry->key && entry->value ? DN_OK : DN_ERROR_MEMORY;
}

static dn_status add_line(dn_cfg *cfg, char *text, int32_t line, bool keep_blanks)
{
    strip(text, keep_blanks);
    if (*text == '\0') return DN_OK;
    if (*text != '[') return add_entry(cfg, text, line);
    const size_t length = strlen(text);
    if (length < 3 || text[length - 1] != ']')
        return dn_fail(DN_ERROR_CONFIG, "%s:%d: '%s' is not of the form [section]", cfg->name, line,
                       text);
    return add_section(cfg, text + 1, length - 2, line);
}

static dn_status parse(const char *name, const char *text, size_t length, bool headless,
                       dn_cfg **out)
{
    if (memchr(text, '\0', length))
        return dn_fail(DN_ERROR_CONFIG, "%s: holds a zero byte: it is not a text file", name);
    dn_status status = DN_ERROR_MEMORY;
    char *copy = dn_alloc(length + 1);
    dn_cfg *cfg = dn_alloc(sizeof *cfg);
    if (!copy || !cfg || !(cfg->name = dn_strdup(name))) goto done;
    memcpy(copy, text, length);
    if (length >= 3 && memcmp(copy, "\xEF\xBB\xBF", 3) == 0) memset(copy, ' ', 3);
    if (headless) DN_TRY_GOTO(add_section(cfg, "", 0, 1));
    int32_t line = 1;
    char *next;
    for (char *start = copy; start; start = next, line++) {
        next = strchr(start, '\n');
        if (next) *next++ = '\0';
        DN_TRY_GOTO(add_line(cfg, start, line, headless));
    }
    status = DN_OK;
    *out = cfg;
    cfg = NULL;
done:
    dn_free(copy);
    dn_cfg_free(cfg);
    return status;
}

dn_status dn_cfg_read(const char *path, bool headless, dn_cfg **out)
{
    char *text = NULL;
    size_t length = 0;
    DN_TRY(dn_read_file(path, DN_CFG_LIMIT, &text, &length));
    const dn_status status = parse(path, text, length, headless, out);
    dn_free(text);
    return status;
}

void dn_cfg_free(dn_cfg *cfg)
{
    if (!cfg) return;
    for (int32_t i = 0; i < cfg->section_count; i++) {
        dn_cfg_section *section = &cfg->sections[i];
        for (int32_t j = 0; j < section->entry_count; j++) {
            dn_free(section->entries[j].key);
            dn_free(section->entries[j].value);
        }
        dn_free(section->entries);
        dn_free(section->name);
    }
    dn_free(cfg->sections);
    dn_free(cfg->name);
    dn_free(cfg);
}
