/* Files that commands write: see output.h. */
#include "cli/output.h"

#include "cli/arguments.h"

#include <errno.h>
#include <string.h>

FILE *dn_open_output(const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file) dn_die("%s: cannot write: %s", path, strerror(errno));
    return file;
}

void dn_close_output(FILE *file, const char *path)
{
    /* A write that failed earlier has left its mark, but no reason. */
    const bool failed = ferror(file) != 0;
    errno = 0;
    const bool flushed = fflush(file) == 0 && (file == stdout || fclose(file) == 0);
    if (failed || !flushed)
        dn_die("%s: cannot write: %s", path, errno ? strerror(errno) : "an earlier part failed");
}
