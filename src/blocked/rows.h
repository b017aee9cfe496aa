/* Kernels that work on rows of blocked tensors: everything but convolutions. A task is some rows of
 * one channel block of one image of the output; see kernels.h for what each computes.
 */
#ifndef DN_BLOCKED_ROWS_H
#define DN_BLOCKED_ROWS_H

#include "blocked/blocked.h"
#include "math/activation.h"
#include "math/pool.h"
#include "math/roi_pool.h"

typedef struct dn_rows {
    int32_t image, block;
    int32_t first, last; /* rows first..last-1 */
} dn_rows;

/* Channels first..first+count-1 of one tensor that become channels to.. of another. */
typedef struct dn_channel_copy {
    int32_t from, to, count;
} dn_channel_copy;

enum { DN_ROIS_AT_ONCE = 16 };

/* The bins of some boxes on one map. */
typedef struct dn_roi_bins_call {
    dn_roi_pool pool;
    dn_roi_map map;
    bool add;      /* to what the output holds */
    int32_t count; /* of boxes */
    struct {
        float box[4];       /* pixels of the network's input */
        int32_t image, roi; /* of the map, of the output */
    } boxes[DN_ROIS_AT_ONCE];
} dn_roi_bins_call;

/* Row y of a block of `lanes` channels. */
static inline float *dn_block_row(const dn_blocked *tensor, int32_t image, int32_t block, int32_t y,
                                  int32_t lanes)
{
    const int64_t row = ((int64_t)block * tensor->h + y) * tensor->w;
    return tensor->data + image * tensor->image_stride + row * lanes;
}

#endif
