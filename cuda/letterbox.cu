/* dn_image_to_input on the device: a thread a pixel of the input, the same bits as the CPU's. */
#include "letterbox.h"

#include "launch.h"
#include "math/letterbox.h"

static __global__ void fill(const uint8_t *pixels, dn_letterbox box, bool bgr, float *out)
{
    const int64_t plane = (int64_t)box.net_h * box.net_w;
    DN_GRID_STRIDE(i, plane) {
        const dn_tap down =
            dn_letterbox_tap((int32_t)(i / box.net_w), box.image_h, box.new_h, box.pad_y);
        const dn_tap across =
            dn_letterbox_tap((int32_t)(i % box.net_w), box.image_w, box.new_w, box.pad_x);
        for (int32_t c = 0; c < 3; c++)
            out[(bgr ? 2 - c : c) * plane + i] =
                dn_letterbox_value(pixels, box.image_w, across, down, c);
    }
}

dn_status dn_cuda_letterbox(const uint8_t *pixels, const dn_letterbox *letterbox, bool bgr,
                            float *out)
{
    DN_LAUNCH(fill, (int64_t)letterbox->net_h * letterbox->net_w, pixels, *letterbox, bgr, out);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}
