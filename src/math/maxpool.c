/* Maximum pooling of whole planes. See maxpool.h.
 *
 * The vector form looks at all cells of a window in their order, several windows at once. For that
 * the rows of a window are copied to where the columns left and right of the plane repeat the
 * column at the edge: what a window holds twice changes neither its maximum nor which comes first.
 */
#include "math/maxpool.h"

#include "math/cpu.h"
#include "math/gemm_kernel.h"

#include <string.h>

#if defined(__x86_64__)
/* Whether every window holds a cell, and vectors can load its columns. */
static bool has_vectors(const dn_pool_geometry *g)
{
    const int32_t last = (g->out_w - 1) * g->stride_x - g->before;
    const int32_t lowest = (g->out_h - 1) * g->stride_y - g->before;
    return (int64_t)g->size * g->size <= INT32_MAX && g->stride_x <= 2 && g->before < g->size &&
           last < g->w && lowest < g->h;
}

/* Columns that the windows of a row hold, those outside of the plane too. */
static int32_t pitch_of(const dn_pool_geometry *g)
{
    return (g->out_w - 1) * g->stride_x + g->size;
}

/* The columns before, 0..w-1 and those after, as far as windows reach. */
static void copy_row(const dn_pool_geometry *g, const float *from, int32_t pitch, float *to)
{
    const int32_t before = g->before;
    const int32_t inside = g->w < pitch - before ? g->w : pitch - before;
    for (int32_t x = 0; x < before; x++) to[x] = from[0];
    memcpy(to + before, from, (size_t)inside * sizeof *to);
    for (int32_t x = before + inside; x < pitch; x++) to[x] = from[g->w - 1];
}

/* The windows of output row y, without its results. */
static dn_maxpool_row fill_window(const dn_pool_geometry *g, const float *plane, int32_t y,
                                  float *window)
{
    const int32_t pitch = pitch_of(g);
    const dn_pool_window seen = dn_pool_window_at(g, y, 0);
    for (int32_t row = seen.top; row < seen.bottom; row++)
        copy_row(g, plane + (int64_t)row * g->w, pitch, window + (int64_t)(row - seen.top) * pitch);
    return (dn_maxpool_row){
        .window = window,
        .pitch = pitch,
        .rows = seen.bottom - seen.top,
        .size = g->size,
        .stride = g->stride_x,
        .columns = g->out_w,
    };
}

static void pool_by_vectors(const dn_pool_geometry *g, const float *plane, float *window,
                            float *out)
{
    for (int32_t y = 0; y < g->out_h; y++) {
        dn_maxpool_row row = fill_window(g, plane, y, window);
        row.most = out + (int64_t)y * g->out_w;
        dn_maxpool_row_avx2(&row);
    }
}

/* Floats of the rows of one window, a multiple of a cache line's. */
static int64_t row_floats(const dn_pool_geometry *g)
{
    const int32_t rows = g->size < g->h ? g->size : g->h;
    return ((int64_t)rows * pitch_of(g) + DN_PACK_SLACK + 15) / 16 * 16;
}

/* A column of a window, or the one at the plane's edge that it repeats. */
static int32_t column_inside(const dn_pool_geometry *g, int32_t column)
{
    return column < 0 ? 0 : column < g->w ? column : g->w - 1;
}

static void backward_by_vectors(const dn_pool_geometry *g, const float *plane, float *window,
                                const float *out_grad, float *in_grad)
{
    for (int32_t y = 0; y < g->out_h; y++) {
        dn_maxpool_row row = fill_window(g, plane, y, window);
        row.first = (int32_t *)(void *)(window + row_floats(g));
        dn_maxpool_row_avx2(&row);
        const int32_t top = dn_pool_window_at(g, y, 0).top;
        for (int32_t x = 0; x < g->out_w; x++) {
            const int32_t at_y = top + row.first[x] / g->size;
            const int32_t left = x * g->stride_x - g->before;
            const int32_t at_x = column_inside(g, left + row.first[x] % g->size);
            in_grad[(int64_t)at_y * g->w + at_x] += out_grad[(int64_t)y * g->out_w + x];
        }
    }
}

int64_t dn_maxpool_window_floats(const dn_pool_geometry *g)
{
    return has_vectors(g) ? row_floats(g) + (g->out_w + 15) / 16 * 16 : 0;
}
#else
static bool has_vectors(const dn_pool_geometry *g)
{
    (void)g;
    return false;
}

static void pool_by_vectors(const dn_pool_geometry *g, const float *plane, float *window,
                            float *out)
{
    (void)g, (void)plane, (void)window, (void)out;
}

static void backward_by_vectors(const dn_pool_geometry *g, const float *plane, float *window,
                                const float *out_grad, float *in_grad)
{
    (void)g, (void)plane, (void)window, (void)out_grad, (void)in_grad;
}

int64_t dn_maxpool_window_floats(const dn_pool_geometry *g)
{
    (void)g;
    return 0;
}
#endif

void dn_maxpool_plane(const dn_pool_geometry *g, const float *plane, float *window, float *out)
{
    if (dn_cpu_isa() != DN_ISA_PLAIN && has_vectors(g)) {
        pool_by_vectors(g, plane, window, out);
        return;
    }
    for (int32_t y = 0; y < g->out_h; y++)
        for (int32_t x = 0; x < g->out_w; x++)
            out[(int64_t)y * g->out_w + x] =
                dn_maxpool_value(plane, dn_maxpool_argmax(g, plane, y, x));
}

void dn_maxpool_plane_backward(const dn_pool_geometry *g, const float *plane, float *window,
                               const float *out_grad, float *in_grad)
{
    if (dn_cpu_isa() != DN_ISA_PLAIN && has_vectors(g)) {
        backward_by_vectors(g, plane, window, out_grad, in_grad);
        return;
    }
    for (int32_t y = 0; y < g->out_h; y++)
        for (int32_t x = 0; x < g->out_w; x++) {
            const int32_t at = dn_maxpool_argmax(g, plane, y, x);
            if (at >= 0) in_grad[at] += out_grad[(int64_t)y * g->out_w + x];
        }
}
