/* Planar to blocked and back, block by block. */
#include "blocked/reorder.h"

#include "blocked/transpose.h"

/* Channels of block `block` that count. */
static int32_t live_lanes(const dn_blocked *tensor, int32_t block)
{
    const int32_t rest = tensor->c - block * DN_LANES;
    return rest < DN_LANES ? rest : DN_LANES;
}

void DN_ISA_NAME(dn_to_blocked)(const float *planar, const dn_blocked *out, int32_t image,
                                int32_t first_block, int32_t last_block)
{
    const int64_t plane = (int64_t)out->h * out->w;
    planar += image * out->c * plane;
    for (int32_t b = first_block; b < last_block; ++b) {
        const float *from = planar + b * DN_LANES * plane;
        float *to = out->data + image * out->image_stride + b * plane * DN_LANES;
        const int32_t live = live_lanes(out, b);
        for (int64_t i = 0; i < plane; ++i, to += DN_LANES) {
            for (int32_t l = 0; l < live; ++l) to[l] = from[l * plane + i];
            for (int32_t l = live; l < DN_LANES; ++l) to[l] = 0.0f;
        }
    }
}

void DN_ISA_NAME(dn_to_planar)(const dn_blocked *in, float *planar, int32_t image,
                               int32_t first_block, int32_t last_block)
{
    const int64_t plane = (int64_t)in->h * in->w;
    planar += image * in->c * plane;
    for (int32_t b = first_block; b < last_block; ++b) {
        const float *from = in->data + image * in->image_stride + b * plane * DN_LANES;
        float *to = planar + b * DN_LANES * plane;
        dn_block_to_planes(from, plane, live_lanes(in, b), plane, to);
    }
}
