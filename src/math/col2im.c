/* Columns back to images, one tap and one output row at a time.
 *
 * See col2im.h for the layout. The output columns whose tap lies inside the image form one range,
 * found once a tap, so that the inner loops hold no test.
 */
#include "math/col2im.h"

#include <stddef.h>

/* The outputs i in [begin, end) whose tap i * stride + offset lies in [0, length). */
typedef struct span {
    int32_t begin, end;
} span;

static span inside(int32_t outputs, int32_t length, int32_t stride, int32_t offset)
{
    const int64_t first = offset < 0 ? (-(int64_t)offset + stride - 1) / stride : 0;
    const int64_t room = (int64_t)length - offset;
    const int64_t last = room <= 0 ? 0 : (room + stride - 1) / stride;
    const int64_t begin = first < outputs ? first : outputs;
    const int64_t end = last < outputs ? last : outputs;
    return (span){(int32_t)begin, (int32_t)(end > begin ? end : begin)};
}

/* One tap (ky, kx) of one channel: plane += what its row of columns holds. */
static void scatter_tap(const dn_conv_geometry *g, const float *row, /* (out_h, out_w) */
                        int32_t ky, int32_t kx, float *plane /* (h, w) */)
{
    const int32_t y0 = ky * g->dilation - g->pad, x0 = kx * g->dilation - g->pad;
    const span ys = inside(g->out_h, g->h, g->stride_y, y0);
    const span xs = inside(g->out_w, g->w, g->stride_x, x0);
    const int32_t step = g->stride_x;
    for (int32_t y = ys.begin; y < ys.end; ++y) {
        const float *in = row + (ptrdiff_t)y * g->out_w;
        float *out = plane + ((ptrdiff_t)y * g->stride_y + y0) * g->w;
        for (int32_t x = xs.begin; x < xs.end; ++x) out[x * step + x0] += in[x];
    }
}

void dn_col2im(const dn_conv_geometry *geometry, const float *cols, float *image)
{
    const ptrdiff_t in_plane = (ptrdiff_t)geometry->h * geometry->w;
    const ptrdiff_t out_plane = (ptrdiff_t)geometry->out_h * geometry->out_w;
    for (int32_t c = 0; c < geometry->c; ++c) {
        for (int32_t ky = 0; ky < geometry->size; ++ky) {
            for (int32_t kx = 0; kx < geometry->size; ++kx) {
                scatter_tap(geometry, cols, ky, kx, image + c * in_plane);
                cols += out_plane;
            }
        }
    }
}
