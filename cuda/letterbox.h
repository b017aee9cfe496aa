/* Images into a network's input: what cuda/backend.cu puts into its table. */
#ifndef DN_CUDA_LETTERBOX_H
#define DN_CUDA_LETTERBOX_H

#include "core/backend.h"

dn_status dn_cuda_letterbox(const uint8_t *pixels, const dn_letterbox *letterbox, bool bgr,
                            dn_input_form form, float *out);
dn_status dn_cuda_to_pixels(const float *planar, int32_t c, int64_t plane, dn_input_form form,
                            float *out);

/* dn_cuda_to_pixels of several images, whose address is read on the device, from `planar`, so that
 * a graph may keep the launch. */
dn_status dn_cuda_told_to_pixels(const float *const *planar, int32_t images, int32_t c,
                                 int64_t plane, dn_input_form form, float *out);

#endif
