/* Class names: see names.h. */
#include "cli/names.h"

#include "data/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char **open_names(const char *path, int32_t classes, bool more)
{
    char **names = calloc((size_t)classes + 1, sizeof *names);
    if (!names) dn_die("out of memory");
    dn_arena arena = {0};
    dn_names read = {0};
    if (path) dn_must(dn_names_read(path, &arena, &read));
    if (path && (read.count < classes || (read.count > classes && !more)))
        dn_die("%s: has %d names, the cfg has classes=%d", path, read.count, classes);
    for (int32_t i = 0; i < classes; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        names[i] = strdup(path ? read.items[i] : number);
        if (!names[i]) dn_die("out of memory");
    }
    dn_arena_free(&arena);
    return names;
}

char **dn_open_names(const char *path, int32_t classes)
{
    return open_names(path, classes, false);
}

char **dn_open_first_names(const char *path, int32_t classes)
{
    return open_names(path, classes, true);
}

void dn_free_names(char **names)
{
    for (int32_t i = 0; names[i]; i++) free(names[i]);
    free(names);
}
