/* The images that a command is to look at: see image_paths.h. */
#include "cli/image_paths.h"

#include <stdio.h>
#include <string.h>

static void ask(void (*run)(void *context, const char *path), void *context)
{
    char line[DN_PATH_SIZE];
    for (;;) {
        printf("Enter Image Path: ");
        fflush(stdout);
        if (!fgets(line, sizeof line, stdin)) break;
        line[strcspn(line, "\r\n")] = '\0';
        if (*line) run(context, line);
    }
    printf("\n");
}

void dn_each_image(const dn_arguments *arguments, void (*run)(void *context, const char *path),
                   void *context)
{
    if (arguments->count == 0) ask(run, context);
    for (int i = 0; i < arguments->count; i++) run(context, arguments->items[i]);
}
