/* The file of a tuning: reader, writer, and where it lies. See tuning.h. */
#include "core/memory.h"
#include "core/new_file.h"
#include "core/option.h"
#include "data/text_file.h"
#include "infer/tuning.h"
#include "math/cpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DN_TUNING_VERSION = 1, DN_TUNING_LINE = 160, DN_TUNING_SENTENCE = 1024 };

void dn_tuning_say(const dn_tuning *tuning, const char *sentence)
{
    if (tuning->warn) tuning->warn(tuning->warn_context, sentence);
}

/* ---- whose it is ---- */

/* "6 avx2 AMD EPYC 7763 ...": the library's version, the instruction set, the processor. */
static void describe_machine(const dn_tuning *tuning, char text[DN_TUNING_LINE])
{
    snprintf(text, DN_TUNING_LINE, "%d %s %s", DN_ABI_VERSION, tuning->kernels->isa, dn_cpu_name());
}

/* The same as a part of a file's name. */
static void describe_as_name(const dn_tuning *tuning, char text[DN_TUNING_LINE])
{
    snprintf(text, DN_TUNING_LINE, "tune-%s-%s", tuning->kernels->isa, dn_cpu_name());
    for (char *c = text; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", *c))
            *c = '-';
}

/* $XDG_CACHE_HOME/yolomask/tune-<machine>.txt, else ~/.cache/yolomask/...; the folders are made.
 * NULL: there is no memory, or nobody's home. */
static char *default_path(const dn_tuning *tuning)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const bool own = cache && cache[0] == '/'; /* others are to be ignored, says the standard */
    if (!own && (!home || home[0] != '/')) return NULL;
    char name[DN_TUNING_LINE];
    describe_as_name(tuning, name);
    const char *root = own ? cache : home, *below = own ? "" : "/.cache";
    const size_t size = strlen(root) + strlen(below) + strlen(name) + 20;
    char *path = dn_alloc(size);
    if (!path) return NULL;
    snprintf(path, size, "%s%s", root, below);
    mkdir(path, 0777); /* where that fails, writing the file tells why */
    snprintf(path, size, "%s%s/yolomask", root, below);
    mkdir(path, 0777);
    snprintf(path, size, "%s%s/yolomask/%s.txt", root, below, name);
    return path;
}

/* ---- reading ---- */

/* The next line that holds something; NULL at the end. */
static char *next_line(dn_text_file *file)
{
    char *line;
    do line = dn_text_line(file);
    while (line && (*line == '\0' || *line == '#'));
    return line;
}

static const dn_conv_form *form_named(const dn_kernels *kernels, const char *name)
{
    for (const dn_conv_form *const *form = kernels->conv_forms; *form; ++form)
        if (strcmp((*form)->name, name) == 0) return *form;
    return NULL;
}

/* "PROBLEM: FORM MICROSECONDS"; false: it is none. */
static bool read_item(const dn_tuning *tuning, char *line, dn_tuned *item)
{
    char *rest = strchr(line, ':');
    if (!rest || rest - line >= DN_TUNING_KEY) return false;
    *rest++ = '\0';
    snprintf(item->key, sizeof item->key, "%s", line);
    const char *name = dn_text_word(&rest), *number = dn_text_word(&rest);
    item->form = name ? form_named(tuning->kernels, name) : NULL;
    return item->form && number && !dn_text_word(&rest) &&
           dn_parse_double(number, &item->microseconds) && item->microseconds > 0;
}

static dn_status read_items(dn_tuning *tuning, dn_text_file *file)
{
    char sentence[DN_TUNING_SENTENCE];
    int32_t damaged = 0, first = 0;
    for (char *line; (line = next_line(file));) {
        dn_tuned item;
        if (read_item(tuning, line, &item)) {
            DN_TRY(dn_tuning_add(tuning, &item));
        } else if (damaged++ == 0) {
            first = file->line;
        }
    }
    if (damaged == 0) return DN_OK;
    snprintf(sentence, sizeof sentence,
             "%s:%d: a problem, a colon, a form and its microseconds are wanted: of %d such lines "
             "the problems are measured anew",
             tuning->path, first, damaged);
    dn_tuning_say(tuning, sentence);
    return DN_OK;
}

/* Whether the file is of this machine; what is not a tuning must not be written over. */
static dn_status read_header(const dn_tuning *tuning, dn_text_file *file, bool *ours)
{
    char wanted[DN_TUNING_LINE], sentence[DN_TUNING_SENTENCE];
    const char *title = next_line(file);
    const int32_t version = DN_TUNING_VERSION;
    *ours = false;
    if (!title || strncmp(title, "tuning ", 7) != 0)
        return dn_fail(DN_ERROR_DATA,
                       "%s: is no tuning file: its first line is to be \"tuning %d\"", tuning->path,
                       version);
    const bool known = atoi(title + 7) == version;
    const char *machine = known ? next_line(file) : NULL;
    describe_machine(tuning, wanted);
    *ours = machine && strcmp(machine, wanted) == 0;
    if (*ours) return DN_OK;
    snprintf(sentence, sizeof sentence,
             "%s: was measured on \"%.*s\", this is \"%s\": it is measured anew", tuning->path,
             DN_TUNING_LINE, machine ? machine : title, wanted);
    dn_tuning_say(tuning, sentence);
    return DN_OK;
}

static dn_status read_file(dn_tuning *tuning)
{
    dn_text_file file;
    struct stat found;
    if (stat(tuning->path, &found) != 0 && errno == ENOENT) return DN_OK;
    DN_TRY(dn_text_open(tuning->path, &file));
    bool ours;
    dn_status status = read_header(tuning, &file, &ours);
    if (status == DN_OK && ours) status = read_items(tuning, &file);
    dn_text_close(&file);
    return status;
}

dn_status dn_tuning_open(dn_tuning *tuning, const char *path)
{
    tuning->path = *path ? dn_strdup(path) : default_path(tuning);
    if (tuning->path) return read_file(tuning);
    if (*path) return DN_ERROR_MEMORY;
    dn_tuning_say(tuning, "neither XDG_CACHE_HOME nor HOME names a folder: what is measured is not "
                          "kept");
    return DN_OK;
}

/* ---- writing ---- */

static dn_status write_items(const dn_tuning *tuning, dn_new_file *file)
{
    char machine[DN_TUNING_LINE];
    describe_machine(tuning, machine);
    bool good = fprintf(file->stream,
                        "tuning %d\n%s\n# what is allowed, a convolution: the fastest form, its "
                        "microseconds\n",
                        DN_TUNING_VERSION, machine) > 0;
    for (int32_t i = 0; i < tuning->count && good; i++) {
        const dn_tuned *item = &tuning->items[i];
        const long long tenths = (long long)(10 * item->microseconds + 0.5);
        good = fprintf(file->stream, "%s: %s %lld.%lld\n", item->key, item->form->name, tenths / 10,
                       tenths % 10) > 0;
    }
    return good ? DN_OK : dn_new_file_fail(file);
}

void dn_tuning_save(const dn_tuning *tuning)
{
    dn_new_file file;
    if (!tuning->path || tuning->measured == 0) return;
    dn_status status = dn_new_file_open(&file, tuning->path, DN_FILE_QUICK);
    if (status == DN_OK) status = dn_new_file_close(&file, write_items(tuning, &file));
    if (status != DN_OK) dn_tuning_say(tuning, dn_error_message());
}

void dn_tuning_close(dn_tuning *tuning)
{
    dn_free(tuning->path);
    dn_free(tuning->items);
    *tuning = (dn_tuning){0};
}
