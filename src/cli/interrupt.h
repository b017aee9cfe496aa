/* Ctrl-C and SIGTERM, for long work that ends in order. */
#ifndef DN_CLI_INTERRUPT_H
#define DN_CLI_INTERRUPT_H

#include <stdbool.h>

/* From here on the first signal is only remembered; a second one ends the process. */
void dn_watch_interrupts(void);

/* Whether one has come; a callback, `context` is not looked at. */
bool dn_interrupted(void *context);

#endif
