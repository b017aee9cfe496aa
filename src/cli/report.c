/* `darknet report FOLDER`, and the charts that a training asks for: `python -m yolomask report`. */
#include "cli/report.h"

#include "cli/commands.h"
#include "cli/python.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static pid_t running; /* the drawing in the background; 0: none */

static bool prepare(dn_python *python, const char **words, const char *folder)
{
    words[0] = "report";
    words[1] = folder;
    words[2] = NULL;
    return dn_python_command(python, words);
}

/* The child's exit code, or -1. A signal (Ctrl-C reaches the child, too) does not end the wait. */
static int wait_for(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void dn_start_report(const char *folder)
{
    dn_python python;
    const char *words[3];
    if (running > 0 && waitpid(running, NULL, WNOHANG) == 0) return;
    running = 0;
    if (!prepare(&python, words, folder)) return;
    running = dn_python_start(&python);
}

void dn_run_report(const char *folder)
{
    dn_python python;
    const char *words[3];
    char text[3 * DN_PYTHON_PATH];
    if (!dn_python_wanted()) return;
    if (running > 0) wait_for(running);
    running = 0;
    if (prepare(&python, words, folder)) {
        const pid_t child = dn_python_start(&python);
        if (child > 0 && wait_for(child) == 0) {
            printf("Charts: %s\n", folder);
            return;
        }
    }
    dn_python_text(&python, text, sizeof text);
    printf("Charts of this training: %s\n", text);
}

int dn_command_report(dn_arguments *arguments)
{
    dn_python python;
    const char *words[3];
    char text[3 * DN_PYTHON_PATH];
    const char *folder = dn_take_operand(arguments, "the folder of a training");
    const bool found = prepare(&python, words, folder);
    if (found) dn_python_exec(&python);
    dn_python_text(&python, text, sizeof text);
    if (found) dn_die("%s: %s", python.interpreter, strerror(errno));
    dn_die("Python is not called from here; type: %s", text);
}
