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
#define X(word, name, operands, does) {#word, operands, does, dn_command_##name},
static const dn_command classifier_commands[] = {DN_CLASSIFIER_COMMANDS(X)};
#undef X

enum {
    TASK_COMMANDS = sizeof task_commands / sizeof task_commands[0],
    CLASSIFIER_COMMANDS = sizeof classifier_commands / sizeof classifier_commands[0],
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

static void list(FILE *file, const char *title, const dn_command *commands, int count)
{
    fprintf(file, "%s:\n", title);
    for (int i = 0; i < count; i++)
        fprintf(file, "  %-12s %-34s %s\n", commands[i].name, commands[i].operands,
                commands[i].does);
}

static void usage(FILE *file)
{
    fprintf(
        file,
        "usage: darknet <detector|segmenter|classifier> <command> ... | darknet <tool> ...\n\n");
    list(file, "detector and segmenter", task_commands, TASK_COMMANDS);
    list(file, "classifier", classifier_commands, CLASSIFIER_COMMANDS);
    list(file, "tools", tools, TOOLS);
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
        const bool classifier = strcmp(task, "classifier") == 0;
        const dn_command *commands = classifier ? classifier_commands : task_commands;
        const int count = classifier ? CLASSIFIER_COMMANDS : TASK_COMMANDS;
        if (argc < 3)
            dn_die("darknet %s: a command is missing, such as %s (darknet help lists them)", word,
                   commands[0].name);
        word = argv[2];
        next = 3;
        command = find(commands, count, word);
    }
    if (!command) dn_die("Not an option: %s (darknet help lists the commands)", word);
    dn_arguments arguments = {.task = task, .count = argc - next, .items = argv + next};
    const int code = command->run(&arguments);
    dn_close_output(stdout, "standard output");
    return code;
}
