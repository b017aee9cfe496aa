/* Tuning: forms of convolutions chosen by measuring them, with the choices kept in a file.
 *
 * Where the user asks for it (dn_network_options.tune), the forms that the estimates find best for
 * a convolution run some times on the plan's threads, on tensors of its size, and the fastest
 * stays. A problem is measured once: its line in the file says the choice from then on, to other
 * networks and processes, too. The file is of one processor, instruction set and version of the
 * library (docs/formats.md). Outputs agree as they do between forms; for one choice they do not
 * depend on the threads.
 *
 * tuning.c chooses and measures, tuning_file.c reads and writes.
 */
#ifndef DN_INFER_TUNING_H
#define DN_INFER_TUNING_H

#include "infer/conv_forms.h"
#include "infer/team.h"

enum { DN_TUNING_KEY = 192 };

/* What is known of a problem. */
typedef struct dn_tuned {
    char key[DN_TUNING_KEY];
    const dn_conv_form *form;
    double microseconds;
} dn_tuned;

typedef struct dn_tuning {
    const dn_kernels *kernels;
    char *path; /* NULL: no place to keep choices */
    dn_tuned *items;
    int32_t count, capacity;
    int32_t measured;                                  /* of them, in this process */
    void (*warn)(void *context, const char *sentence); /* may be NULL */
    void *warn_context;
} dn_tuning;

/* Reads what `path` knows ("": the file of this machine in the user's cache). What cannot be used
 * is said by `warn` and measured anew; a file of another kind is an error. After success
 * dn_tuning_close must follow, after failure it may. */
dn_status dn_tuning_open(dn_tuning *tuning, const char *path);

/* The problem's form, measured where that is not known: among those that `choice` allows, with
 * `chosen` the one that the estimates take. *seconds: how long it took. */
dn_status dn_tuning_choose(dn_tuning *tuning, dn_team *team, int32_t threads,
                           const dn_conv_problem *problem, dn_conv_choice choice,
                           const dn_conv_form **chosen, double *seconds);

/* Writes what was measured. */
void dn_tuning_save(const dn_tuning *tuning);
void dn_tuning_close(dn_tuning *tuning);

/* ---- between the files ---- */

void dn_tuning_say(const dn_tuning *tuning, const char *sentence);

/* Keeps what is known of one more problem. */
dn_status dn_tuning_add(dn_tuning *tuning, const dn_tuned *item);

#endif
