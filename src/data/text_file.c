/* Text files read line by line: see text_file.h. */
#include "data/text_file.h"

#include "core/cfg.h"
#include "core/memory.h"

#include <string.h>

enum { DN_TEXT_LIMIT = 1 << 28 };

static bool is_blank(char character)
{
    return character == ' ' || character == '\t' || character == '\r' || character == '\f' ||
           character == '\v';
}

dn_status dn_text_open(const char *path, dn_text_file *out)
{
    char *bytes = NULL;
    size_t length = 0;
    DN_TRY(dn_read_file(path, DN_TEXT_LIMIT, &bytes, &length));
    if (strlen(bytes) != length) {
        dn_free(bytes);
        return dn_fail(DN_ERROR_DATA, "%s: holds a zero byte: it is not a text file", path);
    }
    *out = (dn_text_file){.bytes = bytes, .next = bytes};
    if (strncmp(bytes, "\xEF\xBB\xBF", 3) == 0) out->next += 3;
    return DN_OK;
}

void dn_text_close(dn_text_file *file)
{
    dn_free(file->bytes);
    *file = (dn_text_file){0};
}

char *dn_text_line(dn_text_file *file)
{
    char *line = file->next;
    if (!line || *line == '\0') return NULL;
    char *end = strchr(line, '\n');
    file->next = end ? end + 1 : NULL;
    file->line++;
    if (!end) end = line + strlen(line);
    while (end > line && is_blank(end[-1])) end--;
    *end = '\0';
    while (is_blank(*line)) line++;
    return line;
}

char *dn_text_word(char **rest)
{
    char *word = *rest;
    while (is_blank(*word)) word++;
    char *end = word;
    while (*end && !is_blank(*end)) end++;
    *rest = *end ? end + 1 : end;
    *end = '\0';
    return *word ? word : NULL;
}
