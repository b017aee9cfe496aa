/* Which forms of a convolution in half precision can run on this GPU, and what each costs by
 * estimate. */
#ifndef DN_CUDA_HALF_RULES_H
#define DN_CUDA_HALF_RULES_H

#include "half_conv.h"

enum { DN_HALF_FORMS = 64 };

typedef struct dn_half_candidate {
    dn_half_form form;
    double cost; /* clock cycles */
} dn_half_candidate;

/* All of our own, cheapest first. */
dn_status dn_half_list_forms(const dn_half_conv *conv, dn_half_candidate list[DN_HALF_FORMS],
                             int32_t *count);

#endif
