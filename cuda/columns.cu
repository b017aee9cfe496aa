/* Images to column matrices and back: see columns.h.
 *
 * im2col: a thread takes one output pixel of one channel and writes its taps, so that neighbours
 * write side by side. col2im: a thread takes one input pixel and gathers.
 */
#include "columns.h"

#include "launch.h"
#include "place.h"

static __global__ void im2col(dn_columns to, const float *image, float *matrix, int64_t count)
{
    const dn_conv_geometry *g = &to.geometry;
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, g->out_w, to.rows);
        const int64_t n = at.map / g->c, c = at.map - n * g->c;
        const int32_t x0 = at.x * g->stride_x - g->pad;
        const int32_t y0 = (at.y + to.first) * g->stride_y - g->pad;
        const float *plane = image + n * to.image_step + c * g->h * g->w;
        float *cell = matrix + n * to.column_step + c * g->size * g->size * to.pitch +
                      (int64_t)at.y * g->out_w + at.x;
        for (int32_t ky = 0; ky < g->size; ky++) {
            const int32_t from_y = y0 + ky * g->dilation;
            for (int32_t kx = 0; kx < g->size; kx++, cell += to.pitch) {
                const int32_t from_x = x0 + kx * g->dilation;
                const bool inside = from_y >= 0 && from_y < g->h && from_x >= 0 && from_x < g->w;
                *cell = inside ? plane[(int64_t)from_y * g->w + from_x] : 0.0f;
            }
        }
    }
}

dn_status dn_cuda_im2col(const dn_columns *columns, const float *image, float *matrix)
{
    const dn_conv_geometry *g = &columns->geometry;
    const int64_t count = (int64_t)columns->images * g->c * columns->rows * g->out_w;
    DN_LAUNCH(im2col, count, *columns, image, matrix, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* The output whose tap at `distance` from its first pixel reads input `at`, or -1. */
static __device__ int32_t reader(int32_t at, int32_t distance, int32_t stride, int32_t first,
                                 int32_t end)
{
    const int32_t begin = at - distance;
    if (begin < 0) return -1;
    const int32_t out = stride == 1 ? begin : begin / stride;
    return out * stride == begin && out >= first && out < end ? out : -1;
}

static __global__ void col2im(dn_columns from, const float *matrix, bool accumulate, float *image,
                              int64_t count)
{
    const dn_conv_geometry *g = &from.geometry;
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, g->w, g->h);
        const int64_t n = at.map / g->c, c = at.map - n * g->c;
        const float *taps = matrix + n * from.column_step + c * g->size * g->size * from.pitch;
        float sum = 0.0f;
        for (int32_t ky = 0; ky < g->size; ky++) {
            const int32_t out_y = reader(at.y + g->pad, ky * g->dilation, g->stride_y, from.first,
                                         from.first + from.rows);
            if (out_y < 0) continue;
            const float *row =
                taps + ky * g->size * from.pitch + (int64_t)(out_y - from.first) * g->out_w;
            for (int32_t kx = 0; kx < g->size; kx++, row += from.pitch) {
                const int32_t out_x =
                    reader(at.x + g->pad, kx * g->dilation, g->stride_x, 0, g->out_w);
                if (out_x >= 0) sum += row[out_x];
            }
        }
        float *to = image + n * from.image_step + (c * g->h + at.y) * g->w + at.x;
        *to = accumulate ? *to + sum : sum;
    }
}

dn_status dn_cuda_col2im(const dn_columns *columns, const float *matrix, bool accumulate,
                         float *image)
{
    const dn_conv_geometry *g = &columns->geometry;
    const int64_t count = (int64_t)columns->images * g->c * g->h * g->w;
    DN_LAUNCH(col2im, count, *columns, matrix, accumulate, image, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static __global__ void lay_side(dn_side side, const float *maps, float *matrix, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, side.columns, side.images);
        matrix[i] = maps[at.y * side.step + at.map * side.columns + at.x];
    }
}

dn_status dn_cuda_lay_side(const dn_side *side, const float *maps, float *matrix)
{
    const int64_t count = side->rows * side->images * side->columns;
    DN_LAUNCH(lay_side, count, *side, maps, matrix, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static __global__ void spread_side(dn_side side, const float *matrix, bool accumulate, float *maps,
                                   int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, side.columns, side.images);
        float *to = maps + at.y * side.step + at.map * side.columns + at.x;
        *to = accumulate ? *to + matrix[i] : matrix[i];
    }
}

dn_status dn_cuda_spread_side(const dn_side *side, const float *matrix, bool accumulate,
                              float *maps)
{
    const int64_t count = side->rows * side->images * side->columns;
    DN_LAUNCH(spread_side, count, *side, matrix, accumulate, maps, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}
