/* The images that a command is to look at: named on the command line, or asked for. */
#ifndef DN_CLI_IMAGE_PATHS_H
#define DN_CLI_IMAGE_PATHS_H

#include "cli/arguments.h"

enum { DN_PATH_SIZE = 4096 };

/* Calls `run` for every operand that is left; where there is none, for every line of standard
 * input, after Darknet's prompt. */
void dn_each_image(const dn_arguments *arguments, void (*run)(void *context, const char *path),
                   void *context);

#endif
