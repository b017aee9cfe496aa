/* Class names: see names.h. */
#include "cli/names.h"

#include "core/cfg.h"
#include "core/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DN_NAMES_LIMIT = 16 << 20 };

/* Splits `text` into lines in place; trailing empty lines do not count. */
static int32_t split_lines(char *text, char **lines, int32_t limit)
{
    int32_t count = 0, used = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        line[strcspn(line, "\r")] = '\0';
        if (count < limit) lines[count] = line;
        count++;
        if (*line) used = count;
    }
    return used;
}

char **dn_open_names(const char *path, int32_t classes)
{
    char **names = calloc((size_t)classes + 1, sizeof *names);
    char **lines = calloc((size_t)classes, sizeof *lines);
    char *text = NULL, number[16];
    size_t length = 0;
    if (!names || !lines) dn_die("out of memory");
    if (path) {
        dn_must(dn_read_file(path, DN_NAMES_LIMIT, &text, &length));
        const int32_t count = split_lines(text, lines, classes);
        if (count != classes)
            dn_die("%s: has %d names, the cfg has classes=%d", path, count, classes);
    }
    for (int32_t i = 0; i < classes; i++) {
        snprintf(number, sizeof number, "%d", i);
        names[i] = strdup(path ? lines[i] : number);
        if (!names[i]) dn_die("out of memory");
    }
    free(lines);
    dn_free(text);
    return names;
}

void dn_free_names(char **names)
{
    for (int32_t i = 0; names[i]; i++) free(names[i]);
    free(names);
}
