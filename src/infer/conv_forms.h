/* Forms of the convolution (blocked/conv_form.h): which one a problem gets, and running one. */
#ifndef DN_INFER_CONV_FORMS_H
#define DN_INFER_CONV_FORMS_H

#include "blocked/kernels.h"

/* The cheapest form of the problem's precision that fits or, where none does, of float32; exact:
 * among those that sum the products themselves. NULL: none. */
const dn_conv_form *dn_conv_form_choose(const dn_kernels *kernels, const dn_conv_problem *problem,
                                        bool exact, int32_t threads);

/* Packs the weights with `threads` threads. */
void dn_conv_form_pack(const dn_conv_form *form, const dn_conv_problem *problem,
                       const float *weights, const float *factor, int32_t threads, void *packed);

/* Runs all phases, each task on the thread that is free; `scratch` holds `threads` parts of the
 * form's scratch_bytes, each rounded up to 64. */
void dn_conv_form_run(const dn_conv_form *form, const dn_conv_call *call, int32_t threads,
                      void *scratch);

#endif
