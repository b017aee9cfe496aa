/* The file of a tuning: what is known of it, reader, writer, and where it lies. See tuning.h.
 *
 * Several processes may read and write it at once. Each reads it whole, since it appears whole; who
 * writes takes along what the others have written since; what two write at the very same moment may
 * be lost for one of them, and is measured anew another time.
 */
#include "core/memory.h"
#include "core/new_file.h"
#include "core/option.h"
#include "data/text_file.h"
#include "infer/tuning.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DN_TUNING_VERSION = 1, DN_TUNING_LINE = 260, DN_TUNING_SENTENCE = 1024 };

/* More than any form takes, and few enough to be written as hundredths. */
static const double most_microseconds = 1e12;

static void say(const dn_tuning *tuning, const char *sentence)
{
    if (tuning->warn) tuning->warn(tuning->warn_context, sentence);
}

/* ---- what is known ---- */

static dn_tuned *find(const dn_tuning *tuning, const char *key)
{
    for (int32_t i = 0; i < tuning->count; i++)
        if (strcmp(tuning->items[i].key, key) == 0) return &tuning->items[i];
    return NULL;
}

const dn_tuned *dn_tuning_recall(const dn_tuning *tuning, const char *key)
{
    const dn_tuned *known = find(tuning, key);
    return known && *known->form ? known : NULL;
}

static dn_status add(dn_tuning *tuning, const dn_tuned *item)
{
    if (tuning->count == tuning->capacity) {
        const int32_t capacity = tuning->capacity > 0 ? 2 * tuning->capacity : 64;
        dn_tuned *items = dn_realloc(tuning->items, (size_t)tuning->capacity * sizeof *items,
                                     (size_t)capacity * sizeof *items);
        if (!items) return dn_fail(DN_ERROR_MEMORY, "out of memory for what was measured");
        tuning->items = items;
        tuning->capacity = capacity;
    }
    tuning->items[tuning->count++] = *item;
    return DN_OK;
}

dn_status dn_tuning_keep(dn_tuning *tuning, const dn_tuned *item)
{
    dn_tuned *known = find(tuning, item->key);
    tuning->changed = true;
    if (!known) return add(tuning, item);
    *known = *item;
    return DN_OK;
}

/* It stays among the items, or a later reading would bring it back. */
void dn_tuning_forget(dn_tuning *tuning, const char *key)
{
    dn_tuned *known = find(tuning, key);
    if (!known || !*known->form) return;
    *known->form = '\0';
    tuning->changed = true;
}

/* ---- whose it is ---- */

/* "7 avx2 AMD EPYC 7763 ...": the library's version, then the machine. */
static void describe_machine(const dn_tuning *tuning, char text[DN_TUNING_LINE])
{
    snprintf(text, DN_TUNING_LINE, "%d %s%s", DN_ABI_VERSION, tuning->machine, tuning->build);
}

/* As a part of a file's name. */
static void describe_as_name(const dn_tuning *tuning, char text[DN_TUNING_LINE])
{
    snprintf(text, DN_TUNING_LINE, "tune-%s", tuning->machine);
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

/* Words, joined by one blank, to the one before the last, which *last becomes; false: there is no
 * such, or no room. */
static bool read_name(char *rest, char name[DN_TUNING_FORM], const char **last)
{
    size_t length = 0;
    *last = dn_text_word(&rest);
    for (const char *next; (next = dn_text_word(&rest)); *last = next) {
        const size_t before = length > 0, more = strlen(*last);
        if (length + before + more >= DN_TUNING_FORM) return false;
        if (before) name[length++] = ' ';
        memcpy(name + length, *last, more + 1);
        length += more;
    }
    return length > 0;
}

/* "PROBLEM: FORM MICROSECONDS", the form of one word or some; false: it is none. */
static bool read_item(const dn_tuning *tuning, char *line, dn_tuned *item)
{
    char *rest = strchr(line, ':');
    const char *number;
    if (!rest || rest - line >= DN_TUNING_KEY) return false;
    *rest++ = '\0';
    snprintf(item->key, sizeof item->key, "%s", line);
    return read_name(rest, item->form, &number) &&
           (!tuning->is_form || tuning->is_form(item->form)) &&
           dn_parse_double(number, &item->microseconds) && item->microseconds > 0 &&
           item->microseconds < most_microseconds;
}

static dn_status read_items(dn_tuning *tuning, dn_text_file *file)
{
    char sentence[DN_TUNING_SENTENCE];
    int32_t damaged = 0, first = 0;
    for (char *line; (line = next_line(file));) {
        dn_tuned item;
        if (read_item(tuning, line, &item)) {
            DN_TRY(add(tuning, &item));
        } else if (damaged++ == 0) {
            first = file->line;
        }
    }
    if (damaged == 0) return DN_OK;
    snprintf(sentence, sizeof sentence,
             "%s:%d: a problem, a colon, a form and its microseconds are wanted: of %d such lines "
             "the problems are measured anew",
             tuning->path, first, damaged);
    say(tuning, sentence);
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
    say(tuning, sentence);
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
    say(tuning, "neither XDG_CACHE_HOME nor HOME names a folder: what is measured is not "
                "kept");
    return DN_OK;
}

/* ---- writing ---- */

/* Hundredths, by whole numbers: what separates them is a point in every language. */
static bool write_item(const dn_tuned *item, dn_new_file *file)
{
    long long hundredths = (long long)(100 * item->microseconds + 0.5);
    if (hundredths == 0) hundredths = 1;
    return fprintf(file->stream, "%s: %s %lld.%02lld\n", item->key, item->form, hundredths / 100,
                   hundredths % 100) > 0;
}

static dn_status write_items(const dn_tuning *tuning, dn_new_file *file)
{
    char machine[DN_TUNING_LINE];
    describe_machine(tuning, machine);
    bool good = fprintf(file->stream,
                        "tuning %d\n%s\n# what is allowed, a convolution: the fastest form, its "
                        "microseconds\n",
                        DN_TUNING_VERSION, machine) > 0;
    for (int32_t i = 0; i < tuning->count && good; i++)
        if (*tuning->items[i].form) good = write_item(&tuning->items[i], file);
    return good ? DN_OK : dn_new_file_fail(file);
}

/* What is in the file by now of other problems. */
static dn_status take_along(dn_tuning *tuning)
{
    dn_tuning there = *tuning;
    there.items = NULL;
    there.count = there.capacity = 0;
    there.warn = NULL; /* what cannot be used was said, or is written over by what can */
    dn_status status = read_file(&there);
    for (int32_t i = 0; i < there.count && status == DN_OK; i++)
        if (!find(tuning, there.items[i].key)) status = add(tuning, &there.items[i]);
    dn_free(there.items);
    return status;
}

void dn_tuning_save(dn_tuning *tuning)
{
    dn_new_file file;
    if (!tuning->path || !tuning->changed) return;
    tuning->changed = false;
    dn_status status = take_along(tuning);
    if (status == DN_OK) status = dn_new_file_open(&file, tuning->path, DN_FILE_SHARED);
    if (status == DN_OK) status = dn_new_file_close(&file, write_items(tuning, &file));
    if (status == DN_OK) return;
    say(tuning, dn_error_message());
    dn_free(tuning->path);
    tuning->path = NULL;
}

void dn_tuning_close(dn_tuning *tuning)
{
    dn_free(tuning->path);
    dn_free(tuning->items);
    *tuning = (dn_tuning){0};
}
