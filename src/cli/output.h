/* Files that commands write: whole, or not at all. */
#ifndef DN_CLI_OUTPUT_H
#define DN_CLI_OUTPUT_H

#include <stdio.h>

/* Opens a file for writing, or ends the program with a sentence. A file that is there stays as it
 * is until the new one is closed. */
FILE *dn_open_output(const char *path);

/* Flushes and closes it (stdout stays open). Ends the program with a sentence where anything since
 * the opening was not written, a full disk for example. */
void dn_close_output(FILE *file, const char *path);

#endif
