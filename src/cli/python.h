/* Calling our Python package from the program: charts, videos and cameras are drawn there.
 *
 * The package is looked for as python/yolomask beside the executable (or two folders above it,
 * where sanitized builds lie), the interpreter as .venv/bin/python there, else python3 of the PATH.
 * YOLOMASK_PYTHON names another interpreter; set to nothing it says that none is to be called. The
 * program trains and predicts without any of them.
 */
#ifndef DN_CLI_PYTHON_H
#define DN_CLI_PYTHON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
    DN_PYTHON_PATH = 4096,
    DN_PYTHON_WORDS = 256, /* that a command may have */
};

/* `python -m yolomask WORDS...`, to be run. It points to itself: do not copy it. */
typedef struct dn_python {
    char interpreter[DN_PYTHON_PATH];
    char environment[2 * DN_PYTHON_PATH]; /* PYTHONPATH=... */
    const char *argv[DN_PYTHON_WORDS + 6];
} dn_python;

/* Unless YOLOMASK_PYTHON is set to nothing. */
bool dn_python_wanted(void);

/* Prepares the command with these words (NULL ends them; they must stay). false: there is no
 * package or no Python to be called; what the user may type instead is still in it. */
bool dn_python_command(dn_python *python, const char *const *words);

/* The command as a shell takes it. */
void dn_python_text(const dn_python *python, char *text, size_t size);

/* Becomes the command. Returns only where that fails, with errno set. */
void dn_python_exec(const dn_python *python);

/* Whether the interpreter can import these modules ("numpy, cffi"). Takes a moment: it tries. */
bool dn_python_can_import(const dn_python *python, const char *modules);

/* Starts the command as a child that prints nothing; -1 where that fails. */
pid_t dn_python_start(const dn_python *python);

#endif
