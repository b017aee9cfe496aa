/* The direct form's walk, for forms that multiply something else than floats.
 *
 * Its tensors are blocks of `lanes` 32-bit words, and a tile adds products of input words and
 * weight words to 32-bit sums. What a word holds only the tile knows: a float or, in the forms of
 * low precision, several neighbouring channels. Such a form asks the functions of dn_conv_direct
 * for a problem whose channels are words, and runs the walk's tasks with its own products.
 */
#ifndef DN_BLOCKED_CONV_DIRECT_H
#define DN_BLOCKED_CONV_DIRECT_H

#include "blocked/conv_form.h"
#include "blocked/conv_tile.h"

typedef struct dn_conv_products {
    /* the tile of so many vectors and pixels, for a stride along rows */
    dn_conv_tile_run (*kernel)(int32_t vectors, int32_t pixels, int32_t stride);
    const float *start; /* a word an output channel: what its sums start from; NULL: 0 */
    const float *scale; /* integer sums become floats, times this; NULL: they are floats */
} dn_conv_products;

extern const dn_conv_form DN_ISA_NAME(dn_conv_direct);

void DN_ISA_NAME(dn_conv_direct_task)(const dn_conv_call *call, const dn_conv_products *products,
                                      int32_t task, void *scratch);

int64_t DN_ISA_NAME(dn_conv_direct_scratch)(const dn_conv_problem *problem); /* bytes */

/* Where the weights of a pair of output vectors lie, in words, and how many vectors it has: the
 * last of a group may be alone. (blocks, size, size, lanes, vectors, lanes). */
int64_t DN_ISA_NAME(dn_conv_direct_item)(const dn_conv_problem *problem, int32_t item,
                                         int32_t *vectors);

#endif
