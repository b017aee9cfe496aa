/* Which forms of a convolution in half precision can run on this GPU, and what each costs by
 * estimate. */
#ifndef DN_CUDA_HALF_RULES_H
#define DN_CUDA_HALF_RULES_H

#include "half_conv.h"

/* Forms of a call at most; how many are measured. */
enum { DN_HALF_FORMS = 640, DN_MEASURED_FORMS = 40 };

typedef struct dn_half_candidate {
    dn_half_form form;
    double cost; /* clock cycles */
    bool hopper; /* of the tile */
} dn_half_candidate;

/* All of our own: the cheapest first, then those that are to be measured. */
dn_status dn_half_list_forms(const dn_half_conv *conv, dn_half_candidate list[DN_HALF_FORMS],
                             int32_t *count);

#endif
