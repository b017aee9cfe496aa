/* A file that appears whole or not at all: written as <path>.tmp, synced, renamed. */
#ifndef DN_CORE_NEW_FILE_H
#define DN_CORE_NEW_FILE_H

#include "core/status.h"

#include <stdio.h>

typedef struct dn_new_file {
    FILE *stream;
    char *path, *temporary; /* owned */
} dn_new_file;

/* Opens the temporary file for writing. After success dn_new_file_close must follow. */
dn_status dn_new_file_open(dn_new_file *file, const char *path);

/* Syncs and renames where all was `written`; else, and on failure, removes the temporary file and
 * returns DN_ERROR_IO with the reason. */
dn_status dn_new_file_close(dn_new_file *file, bool written);

#endif
