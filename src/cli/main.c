/* The program `darknet`: finds the command and runs it. One file a command; src/cli is the only
 * code that prints to stdout or ends the process. */
#include "cli/commands.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>

typedef struct dn_command {
    const char *name, *operands, *does;
    int (*run)(dn_arguments *arguments);
} dn_command;

#define X(name, operands, does) {#name, operands, does, dn_command_##name},
static const dn_command task_commands[] = {DN_TASK_COMMANDS(X)};
static const dn_command tools[] = {DN_TOOLS(X)};
#undef X

enum {
    TASK_COMMANDS = sizeof task_commands / sizeof task_commands[0],
    TOOLS = sizeof tools / sizeof tools[0],
};

static const char *const tasks[] = {
#define X(name, does) name,
    DN_TASKS(X)
#undef X
        NULL,
};

static bool is_task(const char *word)
{
    for (int i = 0; tasks[i]; i++)
        if (strcmp(tasks[i], word) == 0) return true;
    return false;
}

static void usage(FILE *file)
{
    fprintf(file, "usage: darknet <detector|segmenter> <command> ... | darknet <tool> ...\n\n"
                  "commands:\n");
    for (int i = 0; i < TASK_COMMANDS; i++)
        fprintf(file, "  %-12s %-34s %s\n", task_commands[i].name, task_commands[i].operands,
                task_commands[i].does);
    fprintf(file, "tools:\n");
    for (int i = 0; i < TOOLS; i++)
        fprintf(file, "  %-12s %-34s %s\n", tools[i].name, tools[i].operands, tools[i].does);
    fprintf(file, "\ndetect cfg weights image is detector test with the default names.\n"
                  "Options and files: docs/command-line.md\n");
}

static const dn_command *find(const dn_command *list, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0) return &list[i];
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stdout);
        return 0;
    }
    const char *word = argv[1], *task = NULL;
    int next = 2;
    if (strcmp(word, "help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        usage(stdout);
        return 0;
    }
    const dn_command *command = find(tools, TOOLS, word);
    if (strcmp(word, "detect") == 0) {
        command = find(task_commands, TASK_COMMANDS, "test");
        task = "detector";
    }
    if (is_task(word)) {
        task = word;
        if (argc < 3)
            dn_die("darknet %s: a command is missing: test, valid, train or extend", word);
        word = argv[2];
        next = 3;
        command = find(task_commands, TASK_COMMANDS, word);
    }
    if (!command) dn_die("Not an option: %s (darknet help lists the commands)", word);
    dn_arguments arguments = {.task = task, .count = argc - next, .items = argv + next};
    const int code = command->run(&arguments);
    dn_close_output(stdout, "standard output");
    return code;
}
