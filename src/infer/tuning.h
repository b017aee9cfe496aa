/* Tuning: forms of convolutions chosen by measuring them, with the choices kept in a file.
 *
 * Where the user asks for it (dn_network_options.tune), on the CPU the forms that the estimates
 * find best for a convolution run some times on the plan's threads, on tensors of its size, and the
 * fastest stays; a device's plan in half precision, which measures in any case, keeps what it found
 * (cuda/half_tuning.h). A problem is measured once: its line in the file says the choice from then
 * on, to other networks and processes, too. The file is of one processor and instruction set, or
 * device, and version of the library (docs/formats.md). Outputs agree as they do between forms; for
 * one choice they do not depend on the threads.
 *
 * tuning_file.c reads and writes and knows forms by their names alone; tuning.c chooses and
 * measures on the CPU.
 */
#ifndef DN_INFER_TUNING_H
#define DN_INFER_TUNING_H

#include "infer/conv_forms.h"
#include "infer/team.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DN_TUNING_KEY = 256, DN_TUNING_FORM = 32, DN_TUNING_MACHINE = 120 };

/* What is known of a problem. */
typedef struct dn_tuned {
    char key[DN_TUNING_KEY];   /* the problem in words, without a colon */
    char form[DN_TUNING_FORM]; /* "": none, whatever a file says */
    double microseconds;
} dn_tuned;

typedef struct dn_tuning {
    char machine[DN_TUNING_MACHINE];   /* what it is of; it names the file, too */
    char build[DN_TUNING_MACHINE];     /* what else must be the same: words, a blank before each */
    bool (*is_form)(const char *name); /* NULL: who recalls it sees */
    char *path;                        /* NULL: no place to keep choices */
    dn_tuned *items;
    int32_t count, capacity;
    bool changed;                                      /* since it was read or saved */
    void (*warn)(void *context, const char *sentence); /* may be NULL */
    void *warn_context;
} dn_tuning;

/* ---- the file ---- */

/* Reads what `path` knows ("": the file of this machine in the user's cache). What cannot be used
 * is said by `warn` and measured anew; a file of another kind is an error. After success
 * dn_tuning_close must follow, after failure it may. */
dn_status dn_tuning_open(dn_tuning *tuning, const char *path);

/* What is known of the problem, or NULL. */
const dn_tuned *dn_tuning_recall(const dn_tuning *tuning, const char *key);

/* In the place of what was known of it. */
dn_status dn_tuning_keep(dn_tuning *tuning, const dn_tuned *item);

/* Leaves out what is known of the problem, if anything. */
void dn_tuning_forget(dn_tuning *tuning, const char *key);

/* Writes what changed, together with what others wrote in the meantime. Where that fails it is
 * said, and not tried again. */
void dn_tuning_save(dn_tuning *tuning);
void dn_tuning_close(dn_tuning *tuning);

/* ---- on the CPU ---- */

/* dn_tuning_open for the kernels in use. */
dn_status dn_tuning_open_cpu(dn_tuning *tuning, const char *path);

/* The problem's form, measured where that is not known: among those that `choice` allows, with
 * `chosen` the one that the estimates take. *seconds: how long it took. */
dn_status dn_tuning_choose(dn_tuning *tuning, dn_team *team, int32_t threads,
                           const dn_conv_problem *problem, dn_conv_choice choice,
                           const dn_conv_form **chosen, double *seconds);

#ifdef __cplusplus
}
#endif

#endif
