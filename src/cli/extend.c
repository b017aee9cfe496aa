/* `segmenter extend`: writes a detector's cfg with a mask branch appended. */
#include "cli/commands.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>

int dn_command_extend(dn_arguments *arguments)
{
    const dn_extend_options options = {
        .channels = (int32_t)dn_take_int(arguments, "-channels", 0, 1, 4096),
        .convolutions = (int32_t)dn_take_int(arguments, "-convolutions", 0, 1, 64),
        .per_class = dn_take_flag(arguments, "-per_class"),
    };
    dn_take_files(arguments);
    if (!arguments->cfg) dn_die("a detector's cfg is missing");
    const char *out = arguments->count > 0 ? dn_take_operand(arguments, "") : NULL;
    dn_end_of_operands(arguments);
    if (out && strcmp(out, arguments->cfg) == 0) dn_die("%s: give the new cfg another name", out);
    char *text;
    dn_must(dn_extend_cfg(arguments->cfg, &options, &text));
    FILE *file = out ? dn_open_output(out) : stdout;
    fputs(text, file);
    dn_close_output(file, out ? out : "standard output");
    dn_buffer_free(text);
    if (out) printf("%s: train its mask branch with ./darknet segmenter train\n", out);
    return 0;
}
