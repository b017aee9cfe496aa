/* The plan's steps beside convolutions, in half precision: one launch each. A view is a dn_blocked
 * of a device (infer/plan.h); `images` are the live ones. */
#ifndef DN_CUDA_HALF_ROWS_H
#define DN_CUDA_HALF_ROWS_H

#include "infer/plan.h"
#include "roi_table.h"

/* Between planar float tensors, (images, c, h, w), and views; surplus channels become 0. */
dn_status dn_half_from_planar(bool bf16, const float *planar, const dn_blocked *out,
                              int32_t images);
dn_status dn_half_to_planar(bool bf16, const dn_blocked *in, float *planar, int32_t images);

/* As dn_kernels (blocked/kernels.h) has them. */
dn_status dn_half_maxpool(bool bf16, const dn_pool_geometry *pool, const dn_blocked *in,
                          const dn_blocked *out, int32_t images);
dn_status dn_half_upsample(bool bf16, int32_t factor, float scale, const dn_blocked *in,
                           const dn_blocked *out, int32_t images);
dn_status dn_half_add(bool bf16, const float factors[2], const dn_blocked *a, const dn_blocked *b,
                      dn_activation activation, const dn_blocked *out, int32_t images);
dn_status dn_half_scale(bool bf16, const dn_blocked *scales, const dn_blocked *map,
                        dn_activation activation, const dn_blocked *out, int32_t images);
dn_status dn_half_activate(bool bf16, const dn_blocked *in, dn_activation activation,
                           const dn_blocked *out, int32_t images);
dn_status dn_half_average(bool bf16, const dn_blocked *in, const dn_blocked *out, int32_t images);
dn_status dn_half_copy(bool bf16, dn_channel_copy copy, const dn_blocked *in, const dn_blocked *out,
                       int32_t images);

/* Where a pass's images and boxes are, on the device, where graphs find it. */
typedef struct dn_half_live {
    const float *floats; /* of dn_pass */
    const int32_t *rois; /* how many there are */
    const int32_t *extra_starts;
    const dn_roi_extra *extras; /* of dn_roi_table */
    float *extra_planes;        /* (extras, h, w) */
} dn_half_live;

enum { DN_HALF_MAPS = 8 };

typedef struct dn_half_rois {
    dn_roi_pool pool;
    int32_t first, count; /* maps, the first of which is the `first`-th of the layer */
    dn_blocked maps[DN_HALF_MAPS];
    dn_roi_map places[DN_HALF_MAPS];
    const dn_roi *rois;
    const dn_half_live *live;
    dn_blocked out;
} dn_half_rois;

/* The bins of `rois` boxes, of which *live->rois are there; others become 0. Maps behind the first
 * few add to what is there. */
dn_status dn_half_pool_rois(bool bf16, const dn_half_rois *call, int32_t rois);

/* Masks: the logistic of a 1x1 convolution's filter of each box's class, and of its extras'. */
typedef struct dn_half_masks {
    int32_t c, cells; /* channels, a multiple of 8; of a plane */
    bool one;         /* filter for all classes */
    const void *in;
    int64_t in_pixel;
    const void *weights; /* (classes, c) */
    const float *biases;
    const dn_roi *rois;
    const dn_half_live *live;
    float *out; /* (rois, cells) */
} dn_half_masks;

dn_status dn_half_mask_planes(bool bf16, const dn_half_masks *call, int32_t rois);

#endif
