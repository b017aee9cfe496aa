/* An image into a network's input: what cuda/backend.cu puts into its table. */
#ifndef DN_CUDA_LETTERBOX_H
#define DN_CUDA_LETTERBOX_H

#include "core/backend.h"

dn_status dn_cuda_letterbox(const uint8_t *pixels, const dn_letterbox *letterbox, bool bgr,
                            float *out);

#endif
