/* A file that appears whole or not at all: see new_file.h. */
#include "core/new_file.h"

#include "core/memory.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

dn_status dn_new_file_open(dn_new_file *file, const char *path)
{
    const size_t length = strlen(path);
    *file = (dn_new_file){NULL, dn_strdup(path), dn_alloc(length + 5)};
    dn_status status = DN_ERROR_MEMORY;
    if (file->path && file->temporary) {
        memcpy(file->temporary, path, length);
        memcpy(file->temporary + length, ".tmp", 5);
        file->stream = fopen(file->temporary, "wb");
        status = file->stream ? DN_OK
                              : dn_fail(DN_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    }
    if (status != DN_OK) {
        dn_free(file->path);
        dn_free(file->temporary);
    }
    return status;
}

dn_status dn_new_file_close(dn_new_file *file, bool written)
{
    errno = written ? 0 : errno;
    bool fine = written && fflush(file->stream) == 0 && fsync(fileno(file->stream)) == 0;
    int reason = errno;
    if (fclose(file->stream) != 0 && fine) {
        fine = false;
        reason = errno;
    }
    if (fine && rename(file->temporary, file->path) != 0) {
        fine = false;
        reason = errno;
    }
    dn_status status = DN_OK;
    if (!fine) {
        status = dn_fail(DN_ERROR_IO, "%s: cannot write: %s", file->path,
                         reason ? strerror(reason) : "unknown reason");
        remove(file->temporary);
    }
    dn_free(file->path);
    dn_free(file->temporary);
    return status;
}
