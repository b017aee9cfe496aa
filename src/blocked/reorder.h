/* Between planar (images, c, h, w) and blocked tensors; see kernels.h. */
#ifndef DN_BLOCKED_REORDER_H
#define DN_BLOCKED_REORDER_H

#include "blocked/blocked.h"
#include "blocked/isa.h"

void DN_ISA_NAME(dn_to_blocked)(const float *planar, const dn_blocked *out, int32_t image,
                                int32_t first_block, int32_t last_block);
void DN_ISA_NAME(dn_to_planar)(const dn_blocked *in, float *planar, int32_t image,
                               int32_t first_block, int32_t last_block);

#endif
