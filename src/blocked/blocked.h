/* Blocked tensors: what the inference plan's kernels work on.
 *
 * Channels lie in blocks of `lanes` (a vector of the instruction set in use): (images, blocks, h,
 * w, lanes). The last block's surplus lanes hold finite values that nobody looks at: packed weights
 * are zero there. A tensor is a view: a part of a wider one (a route's input written in place)
 * begins at a whole block and keeps the wider one's image stride. It owns nothing. Data is 64-byte
 * aligned.
 */
#ifndef DN_BLOCKED_BLOCKED_H
#define DN_BLOCKED_BLOCKED_H

#include <stdint.h>

typedef struct dn_blocked {
    float *data;          /* (images, blocks, h, w, lanes) */
    int32_t c, h, w;      /* c: channels that count */
    int64_t image_stride; /* floats from one image to the next */
} dn_blocked;

/* Blocks of `lanes` channels that hold c channels. */
static inline int32_t dn_blocks(int32_t c, int32_t lanes)
{
    return (c + lanes - 1) / lanes;
}

#endif
