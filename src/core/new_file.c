/* A file that appears whole or not at all: see new_file.h. */
#include "core/new_file.h"

#include "core/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { DN_ROOM = 32 /* for what follows the path */, DN_TRIES = 100 };

/* Shared, one that nobody has, on whatever machine and in whatever process. */
static FILE *open_temporary(const dn_new_file *file)
{
    const size_t size = strlen(file->path) + DN_ROOM;
    snprintf(file->temporary, size, "%s.tmp", file->path);
    if (file->care != DN_FILE_SHARED) return fopen(file->temporary, "wb");
    for (int i = 0; i < DN_TRIES; i++) {
        snprintf(file->temporary, size, "%s.%ld-%d.tmp", file->path, (long)getpid(), i);
        FILE *stream = fopen(file->temporary, "wbx");
        if (stream || errno != EEXIST) return stream;
    }
    return NULL;
}

dn_status dn_new_file_open(dn_new_file *file, const char *path, dn_new_file_care care)
{
    *file = (dn_new_file){NULL, dn_strdup(path), dn_alloc(strlen(path) + DN_ROOM), care};
    dn_status status = DN_ERROR_MEMORY;
    if (file->path && file->temporary) {
        file->stream = open_temporary(file);
        status = file->stream ? DN_OK
                              : dn_fail(DN_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    }
    if (status != DN_OK) {
        dn_free(file->path);
        dn_free(file->temporary);
    }
    return status;
}

dn_status dn_new_file_fail(const dn_new_file *file)
{
    return dn_fail(DN_ERROR_IO, "%s: cannot write: %s", file->path, strerror(errno));
}

static bool reaches_the_disk(const dn_new_file *file)
{
    if (fflush(file->stream) != 0) return false;
    return file->care != DN_FILE_SYNCED || fsync(fileno(file->stream)) == 0;
}

/* Only with its folder is a new name on the disk. File systems that cannot sync one do so anyway.
 */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? dn_strdup(path) : dn_strdup(".");
    if (!folder) return;
    if (slash) folder[slash - path + 1] = '\0';
    const int descriptor = open(folder, O_RDONLY);
    if (descriptor >= 0) {
        fsync(descriptor);
        close(descriptor);
    }
    dn_free(folder);
}

dn_status dn_new_file_close(dn_new_file *file, dn_status status)
{
    if (status == DN_OK && !reaches_the_disk(file)) status = dn_new_file_fail(file);
    if (fclose(file->stream) != 0 && status == DN_OK) status = dn_new_file_fail(file);
    if (status == DN_OK && rename(file->temporary, file->path) != 0)
        status = dn_new_file_fail(file);
    if (status != DN_OK) remove(file->temporary);
    if (status == DN_OK && file->care == DN_FILE_SYNCED) sync_folder(file->path);
    dn_free(file->path);
    dn_free(file->temporary);
    return status;
}
