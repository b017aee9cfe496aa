/* Class names: one a line, as many as the network has classes. */
#ifndef DN_CLI_NAMES_H
#define DN_CLI_NAMES_H

#include "cli/arguments.h"

/* The names in the file at `path`, or "0", "1", ... where that is NULL; a count that differs from
 * `classes` ends the program with a sentence. Freed with dn_free_names. */
char **dn_open_names(const char *path, int32_t classes);
/* The same, but further names may follow, as in Darknet's lists for ImageNet. */
char **dn_open_first_names(const char *path, int32_t classes);
void dn_free_names(char **names);

#endif
