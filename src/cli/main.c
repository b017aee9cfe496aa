/* The program `darknet`: one file a command, this one picks it. */
#include "darknet.h"

#include <stdio.h>

int main(void)
{
    fprintf(stderr, "usage: darknet <function>\n");
    return 1;
}
