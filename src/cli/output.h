/* Files that commands write: opened, and closed with the certainty that all of it was written. */
#ifndef DN_CLI_OUTPUT_H
#define DN_CLI_OUTPUT_H

#include <stdio.h>

/* Opens a file for writing, or ends the program with a sentence. */
FILE *dn_open_output(const char *path);

/* Flushes and closes it (stdout stays open). Ends the program with a sentence where anything since
 * the opening was not written, a full disk for example. */
void dn_close_output(FILE *file, const char *path);

#endif
