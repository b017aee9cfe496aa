/* See conv_window.h. */
#include "math/conv_window.h"

#include "math/integers.h"

#include <stddef.h>
#include <string.h>

void dn_window_fill(const dn_conv_geometry *g, const float *plane, int32_t out_y, int32_t rows,
                    int32_t pitch, float *out)
{
    const int32_t left = dn_least(g->pad, pitch);
    const int32_t width = dn_most(0, dn_least(g->w, pitch - left));
    const int32_t right = pitch - left - width;
    int32_t y = out_y * g->stride_y - g->pad;
    for (int32_t i = 0; i < rows; ++i, ++y, out += pitch) {
        if (y < 0 || y >= g->h) {
            memset(out, 0, (size_t)pitch * sizeof(float));
            continue;
        }
        memset(out, 0, (size_t)left * sizeof(float));
        memcpy(out + left, plane + (ptrdiff_t)y * g->w, (size_t)width * sizeof(float));
        memset(out + left + width, 0, (size_t)right * sizeof(float));
    }
}
