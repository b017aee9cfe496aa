/* Calling our Python package: see python.h.
 *
 * The command runs through env(1), which sets PYTHONPATH: so what runs and what a user is told to
 * type are the same words. */
#include "cli/python.h"

#include "cli/arguments.h"
#include "data/path.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The folder of the executable, or of a checkout around it, that holds the package. */
static bool find_root(char *root, size_t size)
{
    static const char *const above[] = {"", "/../.."};
    char program[DN_PYTHON_PATH], package[2 * DN_PYTHON_PATH];
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return false;
    program[length] = '\0';
    char *slash = strrchr(program, '/');
    if (!slash) return false;
    *slash = '\0';
    for (size_t i = 0; i < sizeof above / sizeof above[0]; i++) {
        if (snprintf(root, size, "%s%s", program, above[i]) >= (int)size) return false;
        snprintf(package, sizeof package, "%s/python/yolomask/__main__.py", root);
        if (dn_path_exists(package)) return true;
    }
    return false;
}

/* .venv/bin/python of the checkout where `make env` has made it, else the PATH's. */
static void find_interpreter(dn_python *python, const char *root)
{
    const size_t size = sizeof python->interpreter;
    const char *chosen = getenv("YOLOMASK_PYTHON");
    if (chosen && *chosen) {
        snprintf(python->interpreter, size, "%s", chosen);
        return;
    }
    if (root && snprintf(python->interpreter, size, "%s/.venv/bin/python", root) < (int)size &&
        access(python->interpreter, X_OK) == 0)
        return;
    snprintf(python->interpreter, size, "python3");
}

static void set_environment(dn_python *python, const char *root)
{
    const char *before = getenv("PYTHONPATH");
    const bool more = before && *before && strlen(before) < DN_PYTHON_PATH / 2;
    snprintf(python->environment, sizeof python->environment, "PYTHONPATH=%s/python%s%s", root,
             more ? ":" : "", more ? before : "");
}

bool dn_python_wanted(void)
{
    const char *chosen = getenv("YOLOMASK_PYTHON");
    return !chosen || *chosen;
}

bool dn_python_command(dn_python *python, const char *const *words)
{
    char root[DN_PYTHON_PATH];
    const bool found = find_root(root, sizeof root);
    int count = 0;
    find_interpreter(python, found ? root : NULL);
    if (found) {
        set_environment(python, root);
        python->argv[count++] = "env";
        python->argv[count++] = python->environment;
    }
    python->argv[count++] = python->interpreter;
    python->argv[count++] = "-m";
    python->argv[count++] = "yolomask";
    for (int i = 0; words[i]; i++) {
        if (i == DN_PYTHON_WORDS) dn_die("%s: more than %d words", words[0], DN_PYTHON_WORDS);
        python->argv[count++] = words[i];
    }
    python->argv[count] = NULL;
    return found && dn_python_wanted();
}

/* One word; in quotes where the shell would take it apart. Cut where `size` ends. */
static size_t add_word(char *text, size_t size, const char *word)
{
    const bool plain = *word && word[strcspn(word, " \t\n'\"\\$&;|<>()*?[]#~`!{}")] == '\0';
    size_t at = 0;
    if (!plain && at + 1 < size) text[at++] = '\'';
    for (; *word && at + 5 < size; word++) {
        if (*word == '\'')
            at += (size_t)snprintf(text + at, size - at, "'\\''");
        else
            text[at++] = *word;
    }
    if (!plain && at + 1 < size) text[at++] = '\'';
    text[at] = '\0';
    return at;
}

void dn_python_text(const dn_python *python, char *text, size_t size)
{
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; python->argv[i] && at + 2 < size; i++) {
        if (i == 0 && strcmp(python->argv[0], "env") == 0) continue; /* shells do without */
        if (at > 0) text[at++] = ' ';
        at += add_word(text + at, size - at, python->argv[i]);
    }
}

void dn_python_exec(const dn_python *python)
{
    fflush(NULL);
    execvp(python->argv[0], (char *const *)python->argv);
}

static pid_t start(const char *const *argv)
{
    posix_spawn_file_actions_t actions;
    pid_t child = -1;
    if (posix_spawn_file_actions_init(&actions) != 0) return -1;
    for (int file = STDIN_FILENO; file <= STDERR_FILENO; file++)
        posix_spawn_file_actions_addopen(&actions, file, "/dev/null", O_RDWR, 0);
    if (posix_spawnp(&child, argv[0], &actions, NULL, (char *const *)argv, environ) != 0)
        child = -1;
    posix_spawn_file_actions_destroy(&actions);
    return child;
}

pid_t dn_python_start(const dn_python *python)
{
    return start(python->argv);
}

bool dn_python_can_import(const dn_python *python, const char *modules)
{
    char statement[256];
    int status;
    snprintf(statement, sizeof statement, "import %s", modules);
    const char *argv[] = {"env", python->environment, python->interpreter, "-c", statement, NULL};
    const pid_t child = start(argv);
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}
