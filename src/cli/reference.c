/* `darknet reference`: docs/cfg-reference.md, made from the option tables that the parser reads.
 *
 * One table a section of a cfg. Bounds that only keep numbers sane (a million and more) are left
 * out. Keys that are accepted without effect share one line a meaning.
 */
#include "cli/commands.h"
#include "core/layer.h"
#include "core/net_options.h"

#include <stdio.h>
#include <string.h>

static const double boundless = 1e6;

static void print_type(const dn_option *option)
{
    switch (option->type) {
    case DN_OPTION_INT:
        printf("whole number");
        break;
    case DN_OPTION_FLOAT:
        printf("number");
        break;
    case DN_OPTION_FLAG:
        printf("0 or 1");
        break;
    case DN_OPTION_INTS:
        printf("list of whole numbers");
        break;
    case DN_OPTION_FLOATS:
        printf("list of numbers");
        break;
    case DN_OPTION_TEXT:
        printf("text");
        break;
    case DN_OPTION_IGNORED:
        break;
    case DN_OPTION_CHOICE:
        for (int32_t i = 0; option->choices[i]; i++)
            printf("%s`%s`", i > 0 ? ", " : "", option->choices[i]);
        break;
    }
}

static bool is_numeric(const dn_option *option)
{
    return option->type == DN_OPTION_INT || option->type == DN_OPTION_FLOAT ||
           option->type == DN_OPTION_INTS || option->type == DN_OPTION_FLOATS;
}

static void print_range(const dn_option *option)
{
    const double low = option->minimum, high = option->maximum;
    if (!is_numeric(option) || low >= high) return;
    const bool from = low > -boundless, to = high < boundless;
    if (from && to)
        printf(", %g to %g", low, high);
    else if (from)
        printf(", %g or more", low);
    else if (to)
        printf(", %g or less", high);
}

static void print_initial(const dn_option *option)
{
    if (option->type == DN_OPTION_CHOICE)
        printf("`%s`", option->choices[(int32_t)option->initial]);
    else if (option->type == DN_OPTION_INT || option->type == DN_OPTION_FLOAT ||
             option->type == DN_OPTION_FLAG)
        printf("%g", option->initial);
}

static bool is_ignored(const dn_option *option, const char *doc)
{
    return option->type == DN_OPTION_IGNORED && strcmp(option->doc, doc) == 0;
}

static void print_ignored(const dn_option *table)
{
    for (const dn_option *option = table; option->key; option++) {
        if (option->type != DN_OPTION_IGNORED) continue;
        const dn_option *first = table;
        while (!is_ignored(first, option->doc)) first++;
        if (first != option) continue; /* its line is printed already */
        printf("\n");
        for (const dn_option *other = option; other->key; other++)
            if (is_ignored(other, option->doc))
                printf("%s`%s`", other == option ? "" : ", ", other->key);
        printf(": %s.\n", option->doc);
    }
}

static void print_table(const dn_option *table)
{
    bool any = false;
    for (const dn_option *option = table; option && option->key; option++) {
        if (option->type == DN_OPTION_IGNORED) continue;
        if (!any) printf("\n| key | value | default | meaning |\n|---|---|---|---|\n");
        any = true;
        printf("| `%s` | ", option->key);
        print_type(option);
        print_range(option);
        printf(" | ");
        print_initial(option);
        printf(" | %s |\n", option->doc);
    }
    if (!any) printf("\nNo keys of its own.\n");
    if (table) print_ignored(table);
}

static void print_layer(const dn_layer_type *type)
{
    printf("\n## [%s]\n", type->name);
    for (int32_t i = 0; i < 2 && type->aliases[i]; i++)
        printf("%s`[%s]`", i == 0 ? "\nAlso written " : ", ", type->aliases[i]);
    if (type->aliases[0]) printf(".\n");
    print_table(type->options);
}

int dn_command_reference(dn_arguments *arguments)
{
    dn_take_files(arguments);
    if (arguments->count > 0) dn_die("%s: reference takes no operand", arguments->items[0]);
    printf("# Every section and key of a .cfg\n\n"
           "Made by `make docs` from the tables that the parser itself reads. How a file is "
           "written: [formats.md](formats.md).\n"
           "An unknown key is a warning with file and line, with `-strict` an error.\n"
           "\n## [net]\n");
    print_table(dn_net_option_table);
    printf("\n## Keys of every layer\n");
    print_table(dn_common_option_table);
    for (int32_t i = 0; dn_layer_type_at(i); i++) print_layer(dn_layer_type_at(i));
    return 0;
}
