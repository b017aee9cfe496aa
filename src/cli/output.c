/* Files that commands write: see output.h.
 *
 * Each is made as <path>.tmp (core/new_file.h) and renamed when it is closed. What is not closed
 * when the program ends with an error is removed. Devices and pipes are written as they are.
 */
#include "cli/output.h"

#include "cli/arguments.h"
#include "core/new_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct dn_pending {
    dn_new_file file;
    struct dn_pending *next;
} dn_pending;

static dn_pending *pending; /* opened, not closed yet */

static void remove_pending(void)
{
    for (const dn_pending *one = pending; one; one = one->next) remove(one->file.temporary);
}

static bool is_plain(const char *path)
{
    struct stat info;
    return stat(path, &info) != 0 || S_ISREG(info.st_mode);
}

static FILE *open_new(const char *path)
{
    static bool registered;
    dn_pending *one = calloc(1, sizeof *one);
    if (!one) dn_die("out of memory");
    dn_must(dn_new_file_open(&one->file, path, DN_FILE_QUICK));
    one->next = pending;
    pending = one;
    if (!registered) registered = atexit(remove_pending) == 0;
    return one->file.stream;
}

FILE *dn_open_output(const char *path)
{
    if (is_plain(path)) return open_new(path);
    FILE *file = fopen(path, "wb");
    if (!file) dn_die("%s: cannot write: %s", path, strerror(errno));
    return file;
}

/* The new file behind a stream, taken out of the list; NULL: it is none. */
static dn_pending *take_pending(const FILE *stream)
{
    for (dn_pending **link = &pending; *link; link = &(*link)->next) {
        dn_pending *one = *link;
        if (one->file.stream != stream) continue;
        *link = one->next;
        return one;
    }
    return NULL;
}

void dn_close_output(FILE *file, const char *path)
{
    /* A write that failed earlier has left its mark, but no reason. */
    const bool failed = ferror(file) != 0;
    errno = 0;
    const bool flushed = fflush(file) == 0;
    const int reason = errno;
    dn_pending *one = take_pending(file);
    dn_status status = DN_OK;
    if (failed || !flushed)
        status = dn_fail(DN_ERROR_IO, "%s: cannot write: %s", path,
                         reason ? strerror(reason) : "an earlier part failed");
    if (one)
        status = dn_new_file_close(&one->file, status);
    else if (file != stdout && fclose(file) != 0 && status == DN_OK)
        status = dn_fail(DN_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    free(one);
    dn_must(status);
}
