/* A file that appears whole or not at all: written as <path>.tmp (or
 * <path>.<process>-<number>.tmp), which is renamed at the end. */
#ifndef DN_CORE_NEW_FILE_H
#define DN_CORE_NEW_FILE_H

#include "core/status.h"

#include <stdio.h>

/* Whether the old file must survive a power cut: then the new one waits for the disk, which can
 * take longer than writing it; and whether others may write the same file at this moment: then each
 * has a temporary file of its own, and who is done last is heard. */
typedef enum dn_new_file_care { DN_FILE_QUICK, DN_FILE_SYNCED, DN_FILE_SHARED } dn_new_file_care;

typedef struct dn_new_file {
    FILE *stream;
    char *path, *temporary; /* owned */
    dn_new_file_care care;
} dn_new_file;

/* Opens the temporary file for writing. After success dn_new_file_close must follow. */
dn_status dn_new_file_open(dn_new_file *file, const char *path, dn_new_file_care care);

/* DN_ERROR_IO, with errno's reason why the file could not be written. */
dn_status dn_new_file_fail(const dn_new_file *file);

/* Renames where `status`, the outcome of the writing, is DN_OK; else, and where that fails, removes
 * the temporary file. Returns `status`, or this step's own failure. */
dn_status dn_new_file_close(dn_new_file *file, dn_status status);

#endif
