/* The table of blocked kernels of one instruction set, and the one in use. */
#ifndef DN_BLOCKED_KERNELS_H
#define DN_BLOCKED_KERNELS_H

#include "blocked/conv_form.h"

#include <stddef.h>

typedef struct dn_kernels {
    const char *isa;
    int32_t lanes;
    const dn_conv_form *const *conv_forms; /* NULL at the end */

    /* Images first..last-1 of a planar tensor (images, c, h, w) into a blocked one, whose surplus
     * lanes become 0, and back; channel blocks first_block..last_block-1 of one image. */
    void (*to_blocked)(const float *planar, const dn_blocked *out, int32_t image,
                       int32_t first_block, int32_t last_block);
    void (*to_planar)(const dn_blocked *in, float *planar, int32_t image, int32_t first_block,
                      int32_t last_block);
} dn_kernels;

/* Of the instruction set that dn_cpu_isa() says. */
const dn_kernels *dn_kernels_in_use(void);

#endif
