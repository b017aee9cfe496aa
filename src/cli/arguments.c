/* The command line: see arguments.h. */
#include "cli/arguments.h"

#include "core/option.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dn_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void dn_must(dn_status status)
{
    if (status != DN_OK) dn_die("%s", dn_error_message());
}

static char *take_at(dn_arguments *arguments, int at)
{
    char *item = arguments->items[at];
    arguments->count--;
    memmove(arguments->items + at, arguments->items + at + 1,
            (size_t)(arguments->count - at) * sizeof *arguments->items);
    return item;
}

static int find(const dn_arguments *arguments, const char *name)
{
    for (int i = 0; i < arguments->count; i++)
        if (strcmp(arguments->items[i], name) == 0) return i;
    return -1;
}

bool dn_take_flag(dn_arguments *arguments, const char *name)
{
    const int at = find(arguments, name);
    if (at >= 0) take_at(arguments, at);
    return at >= 0;
}

const char *dn_take_text(dn_arguments *arguments, const char *name, const char *initial)
{
    const int at = find(arguments, name);
    if (at < 0) return initial;
    take_at(arguments, at);
    if (at >= arguments->count) dn_die("%s: a value is missing behind it", name);
    return take_at(arguments, at);
}

int64_t dn_take_int(dn_arguments *arguments, const char *name, int64_t initial, int64_t low,
                    int64_t high)
{
    const char *text = dn_take_text(arguments, name, NULL);
    int64_t value = initial;
    if (text && !dn_parse_int(text, &value)) dn_die("%s %s: a whole number is wanted", name, text);
    if (text && (value < low || value > high))
        dn_die("%s %s is out of range %lld..%lld", name, text, (long long)low, (long long)high);
    return value;
}

int dn_take_choice(dn_arguments *arguments, const char *name, const char *(*name_of)(int number),
                   int first, int initial)
{
    const char *text = dn_take_text(arguments, name, NULL);
    char allowed[160] = "";
    if (!text) return initial;
    for (int i = first; name_of(i); i++) {
        const char *joint = i == first ? "" : name_of(i + 1) ? ", " : " or ";
        const size_t length = strlen(allowed);
        if (strcmp(text, name_of(i)) == 0) return i;
        snprintf(allowed + length, sizeof allowed - length, "%s%s", joint, name_of(i));
    }
    dn_die("%s %s: %s is wanted", name, text, allowed);
}

float dn_take_share(dn_arguments *arguments, const char *name, float initial)
{
    const char *text = dn_take_text(arguments, name, NULL);
    double value = (double)initial;
    if (text && !dn_parse_double(text, &value)) dn_die("%s %s: a number is wanted", name, text);
    if (!(value >= 0 && value <= 1)) dn_die("%s %s is out of range 0..1", name, text);
    return (float)fmax(value, (double)FLT_MIN);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* "x.weights", "x.backup", "x.conv.29", or a comma list of them; "x.state" of a training. */
static bool is_weights(const char *text)
{
    const char *conv = strstr(text, ".conv.");
    return ends_with(text, ".weights") || ends_with(text, ".backup") || ends_with(text, ".state") ||
           (conv && strspn(conv + 6, "0123456789") == strlen(conv + 6));
}

/* A cfg by any name: its first section is [net] or [network]. */
static bool is_cfg(const char *path)
{
    if (ends_with(path, ".cfg")) return true;
    if (strchr(path, '.') && !ends_with(path, ".txt")) return false;
    FILE *file = fopen(path, "rb");
    char line[16] = "";
    const bool found = file && fgets(line, sizeof line, file) && strncmp(line, "[net", 4) == 0;
    if (file) fclose(file);
    return found;
}

void dn_take_files(dn_arguments *arguments)
{
    for (int i = 0; i < arguments->count;) {
        const char *item = arguments->items[i];
        if (item[0] == '-' && item[1] != '\0') dn_die("%s: unknown option", item);
        if (!arguments->data && ends_with(item, ".data"))
            arguments->data = take_at(arguments, i);
        else if (!arguments->weights && is_weights(item))
            arguments->weights = take_at(arguments, i);
        else if (!arguments->cfg && is_cfg(item))
            arguments->cfg = take_at(arguments, i);
        else
            i++;
    }
}

void dn_end_of_operands(const dn_arguments *arguments)
{
    if (arguments->count > 0)
        dn_die("%s: is no .data, .cfg or weights file by its name (weights are called x.weights, "
               "x.backup, x.state or x.conv.N), or one more than is wanted",
               arguments->items[0]);
}

const char *dn_take_operand(dn_arguments *arguments, const char *what)
{
    if (arguments->count == 0) dn_die("%s is missing", what);
    return take_at(arguments, 0);
}

void dn_print_train_command(const dn_arguments *arguments, bool resume, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "./darknet %s train", arguments->task);
    for (int i = 0; i < arguments->count && used < size; i++) {
        const char *item = arguments->items[i],
                   *quote = strpbrk(item, " \t\"$*?;&|<>()") ? "'" : "";
        if (resume && (strcmp(item, "-resume") == 0 || strcmp(item, "-clear") == 0)) continue;
        used += (size_t)snprintf(text + used, size - used, " %s%s%s", quote, item, quote);
    }
    if (resume && used < size) snprintf(text + used, size - used, " -resume");
}
