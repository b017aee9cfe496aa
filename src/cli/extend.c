/* `segmenter extend`: writes a detector's cfg with a mask branch appended. */
#include "cli/commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int dn_command_extend(dn_arguments *arguments)
{
    const dn_extend_options options = {
        .channels = (int32_t)dn_take_int(arguments, "-channels", 0),
        .convolutions = (int32_t)dn_take_int(arguments, "-convolutions", 0),
        .per_class = dn_take_flag(arguments, "-per_class"),
    };
    dn_take_files(arguments);
    if (!arguments->cfg) dn_die("a detector's cfg is missing");
    const char *out = arguments->count > 0 ? dn_take_operand(arguments, "") : NULL;
    if (out && strcmp(out, arguments->cfg) == 0) dn_die("%s: give the new cfg another name", out);
    char *text;
    dn_must(dn_extend_cfg(arguments->cfg, &options, &text));
    FILE *file = out ? fopen(out, "wb") : stdout;
    if (!file) dn_die("%s: cannot open: %s", out, strerror(errno));
    const bool written = fputs(text, file) >= 0 && fflush(file) == 0;
    if (!written || (out && fclose(file) != 0))
        dn_die("%s: cannot write: %s", out ? out : "output", strerror(errno));
    dn_buffer_free(text);
    if (out) printf("%s: train its mask branch with ./darknet segmenter train\n", out);
    return 0;
}
