/* Forms of the convolution (blocked/conv_form.h): which one a problem gets, and running one. */
#ifndef DN_INFER_CONV_FORMS_H
#define DN_INFER_CONV_FORMS_H

#include "blocked/kernels.h"
#include "darknet.h"

/* Which forms may be chosen, of those that fit. */
typedef enum dn_conv_choice {
    DN_CHOOSE_FASTEST, /* float32 or, where that is faster, the problem's precision */
    DN_CHOOSE_EXACT,   /* float32, summing the products themselves: no Winograd */
    DN_CHOOSE_LOW,     /* the problem's precision; float32 only where no form of it fits */
} dn_conv_choice;

/* What a network's precision allows on the CPU. */
dn_conv_choice dn_conv_choice_of(dn_precision precision);
dn_conv_precision dn_conv_precision_of(dn_precision precision);

/* The plan's forms are judged as if for two threads, however many there are: forms round
 * differently, and results must not depend on the number of threads. */
enum { DN_JUDGED_THREADS = 2 };

/* The form with the lowest estimated time; NULL: none fits. */
const dn_conv_form *dn_conv_form_choose(const dn_kernels *kernels, const dn_conv_problem *problem,
                                        dn_conv_choice choice, int32_t threads);

/* NULL: none has this name. */
const dn_conv_form *dn_conv_form_named(const dn_kernels *kernels, const char *name);

/* Packs the weights with `threads` threads. */
void dn_conv_form_pack(const dn_conv_form *form, const dn_conv_problem *problem,
                       const float *weights, const float *factor, int32_t threads, void *packed);

/* Runs all phases, each task on the thread that is free; `scratch` holds `threads` parts of the
 * form's scratch_bytes, each rounded up to 64. */
void dn_conv_form_run(const dn_conv_form *form, const dn_conv_call *call, int32_t threads,
                      void *scratch);

#endif
