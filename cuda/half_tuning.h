/* What a tuning (infer/tuning.h) keeps of convolutions in half precision: the form that each got,
 * by its name, and the time that was measured.
 *
 * The file is of one kind of GPU, of one version of CUDA and cuDNN, and of one list of forms: a
 * file of others is measured anew as a whole. A name that is none of the call's forms, or is none
 * any more, is measured anew, too. */
#ifndef DN_CUDA_HALF_TUNING_H
#define DN_CUDA_HALF_TUNING_H

#include "half_rules.h"

/* dn_tuning_open for the current device. */
dn_status dn_half_tuning_open(dn_tuning *tuning, const char *path);

/* The form of this name, of `count` that can run; false: none has it. */
bool dn_half_form_named(const dn_half_conv *conv, const dn_half_candidate *list, int32_t count,
                        const char *name, dn_half_form *form);

/* The call's form as the tuning knows it, if it is one of `count` that can run. */
bool dn_half_tuning_recall(const dn_tuning *tuning, const dn_half_conv *conv,
                           const dn_half_candidate *list, int32_t count, dn_half_form *form,
                           double *seconds);

dn_status dn_half_tuning_keep(dn_tuning *tuning, const dn_half_conv *conv, dn_half_form form,
                              double seconds);
void dn_half_tuning_forget(dn_tuning *tuning, const dn_half_conv *conv);

/* Of a text, and of what `hash` says was before it. */
static inline uint32_t dn_half_hash(uint32_t hash, const char *text)
{
    for (; *text; text++) hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash;
}

enum : uint32_t { DN_HALF_HASH = 2166136261u }; /* of nothing */

#endif
