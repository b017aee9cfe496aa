/* The command line: flags may stand anywhere, files are recognised by what they are.
 *
 * `segmenter train coco.data yolomask.cfg detector.weights` (Darknet's order) and
 * `segmenter train yolomask.cfg` mean the same: .data, .cfg and weights files are found by their
 * content and name; what remains are images and other operands, in order.
 */
#ifndef DN_CLI_ARGUMENTS_H
#define DN_CLI_ARGUMENTS_H

#include "darknet.h"

typedef struct dn_arguments {
    const char *task; /* detector, segmenter or classifier; NULL for tools */
    int count;
    char **items; /* what has not been taken yet; items[0] is the first behind the command */
    const char *data, *cfg, *weights;
} dn_arguments;

/* Takes a flag without a value out of the arguments: was it there? */
bool dn_take_flag(dn_arguments *arguments, const char *name);

/* Takes a flag with its value. A missing or senseless value ends the program with a sentence. */
const char *dn_take_text(dn_arguments *arguments, const char *name, const char *initial);
int64_t dn_take_int(dn_arguments *arguments, const char *name, int64_t initial, int64_t low,
                    int64_t high);

/* The one of `first`, `first` + 1, ... that the flag names; name_of is NULL behind the last one. */
int dn_take_choice(dn_arguments *arguments, const char *name, const char *(*name_of)(int number),
                   int first, int initial);

/* A share, 0 to 1. For 0 the smallest positive number is returned, since to the library 0 means its
 * default. */
float dn_take_share(dn_arguments *arguments, const char *name, float initial);

/* Moves .data, .cfg and weights files to their fields. Call it when all flags are taken: a flag
 * that is left over ends the program with its name. */
void dn_take_files(dn_arguments *arguments);

/* The next operand, or the end of the program with "what is missing". */
const char *dn_take_operand(dn_arguments *arguments, const char *what);

/* Of a command that takes files only: ends the program with the name of what was no such file. A
 * trunk that is misspelt must not become a training that begins from nothing. */
void dn_end_of_operands(const dn_arguments *arguments);

/* Writes the command of a training as it could be typed again, before anything is taken; `resume`:
 * as it goes on where it was stopped. */
void dn_print_train_command(const dn_arguments *arguments, bool resume, char *text, size_t size);

/* One line to stderr, exit code 1. */
#if defined(__GNUC__)
__attribute__((noreturn, format(printf, 1, 2)))
#endif
void dn_die(const char *format, ...);

/* Ends the program with the library's sentence unless `status` is DN_OK. */
void dn_must(dn_status status);

#endif
