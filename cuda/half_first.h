/* The first convolution, 3 x 3 taps of the network's pixels: see half_conv.h.
 *
 * Such a layer reads little and writes much: its time is that of the output where everything else
 * stays short. A warp takes 16 output pixels of a row at a time, and all stays in registers. The
 * sum's order is free: a lane's four values of 16 are the four of one input pixel, the last of
 * which is 0, and its lane's tap; so what it loads, 8 bytes, is its part of the left factor. The
 * order of filters in the right factor is free, too: a lane's columns of four products are eight
 * filters beside each other, 16 bytes of the output. Filters and biases, which begin the sums, are
 * loaded once by every warp, and there are as many warps as run at once. */
#ifndef DN_CUDA_HALF_FIRST_H
#define DN_CUDA_HALF_FIRST_H

#include "half_end.h"
#include "half_mma.h"

/* Warps of a block; output pixels of one; steps of four taps. */
enum { DN_FIRST_WARPS = 4, DN_FIRST_ROWS = 16, DN_FIRST_STEPS = 3 };

enum { DN_PIXEL_BYTES = DN_PIXEL * 2 };

/* Blocks that run at once on a processor. */
template <int COLUMNS> static constexpr int dn_first_blocks()
{
    return COLUMNS <= 32 ? 4 : 3;
}

/* Filters of a block, in 32s, and their biases: in tile j of a 32 column n of the product is filter
 * n / 2 * 8 + 2 j + n % 2. */
template <class T, int COLUMNS> struct dn_first_filters {
    uint32_t of[DN_FIRST_STEPS][COLUMNS / 8][DN_LANES][2];
    float shift[COLUMNS / 32][DN_LANES][8];

    __device__ void load(const dn_half_conv *p, int32_t first_column)
    {
        DN_UNROLL
        for (int step = 0; step < DN_FIRST_STEPS; step++) DN_UNROLL
        for (int j = 0; j < COLUMNS / 8; j++) DN_UNROLL
        for (int l = 0; l < DN_LANES; l++) {
            const dn_lane lane = dn_lane_of(l);
            const int32_t tap = 4 * step + lane.q;
            const int32_t filter =
                first_column + j / 4 * 32 + lane.g / 2 * 8 + j % 4 * 2 + lane.g % 2;
            const T *from = (const T *)p->weights + (int64_t)filter * p->k + tap * 3;
            T values[DN_PIXEL];
            DN_UNROLL
            for (int c = 0; c < DN_PIXEL; c++)
                values[c] = c < 3 && tap < 9 && filter < p->filters ? from[c] : dn_narrow<T>(0.0f);
            memcpy(of[step][j][l], values, sizeof values);
        }
        DN_UNROLL
        for (int b = 0; b < COLUMNS / 32; b++) DN_UNROLL
        for (int l = 0; l < DN_LANES; l++) {
            const int32_t column = first_column + b * 32 + dn_lane_of(l).q * 8;
            DN_UNROLL
            for (int e = 0; e < 8; e++) shift[b][l][e] = 0.0f;
            if (column < p->filters) dn_add_shift(p, column, shift[b][l]);
        }
    }
};

/* Sixteen output pixels of a row, and how far on a warp's next ones are: places, without the
 * divisions. */
struct dn_first_place {
    int32_t part, y, image; /* of the row; row of the image */
    int32_t parts, step_part, step_row;

    __device__ dn_first_place(const dn_half_conv *p, uint32_t unit, uint32_t step)
    {
        parts = (p->out_w + DN_FIRST_ROWS - 1) / DN_FIRST_ROWS;
        const uint32_t row = unit / (uint32_t)parts;
        part = (int32_t)(unit - row * (uint32_t)parts);
        image = (int32_t)(row / (uint32_t)p->out_h);
        y = (int32_t)(row - (uint32_t)image * (uint32_t)p->out_h);
        step_row = (int32_t)(step / (uint32_t)parts);
        step_part = (int32_t)(step - (uint32_t)step_row * (uint32_t)parts);
    }

    __device__ void advance(const dn_half_conv *p)
    {
        part += step_part;
        y += step_row;
        if (part >= parts) {
            part -= parts;
            y++;
        }
        for (; y >= p->out_h; y -= p->out_h) image++;
    }
};

/* A pixel's values; zeros, without a branch, where it is not there. */
static __device__ inline uint2 dn_load_pixel(const char *from, bool there)
{
    uint2 raw = {0, 0};
#ifdef __CUDA_ARCH__
    asm volatile("{ .reg .pred p; setp.ne.s32 p, %3, 0; @p ld.global.v2.u32 {%0, %1}, [%2]; }"
                 : "+r"(raw.x), "+r"(raw.y)
                 : "l"(from), "r"((int)there)
                 : "memory");
#else
    if (there) raw = *(const uint2 *)(const void *)from;
#endif
    return raw;
}

/* A lane's taps: where each lies from the window's corner; none begins in no row. */
struct dn_first_taps {
    int32_t x[DN_FIRST_STEPS][DN_LANES], y[DN_FIRST_STEPS][DN_LANES], at[DN_FIRST_STEPS][DN_LANES];

    __device__ explicit dn_first_taps(const dn_half_conv *p)
    {
        DN_UNROLL
        for (int step = 0; step < DN_FIRST_STEPS; step++) DN_UNROLL
        for (int l = 0; l < DN_LANES; l++) {
            const dn_lane lane = dn_lane_of(l);
            const int32_t tap = 4 * step + lane.q, down = tap / 3;
            x[step][l] = (tap - down * 3) * p->dilation + lane.g * p->stride_x;
            y[step][l] = tap < 9 ? down * p->dilation : INT32_MIN / 2;
            at[step][l] = (down * p->dilation * p->w + x[step][l]) * DN_PIXEL_BYTES;
        }
    }

    /* The left factor of sixteen pixels. */
    template <class T>
    __device__ void load(const dn_half_conv *p, const dn_first_place &place,
                         uint32_t a[DN_FIRST_STEPS][DN_LANES][4]) const
    {
        const int32_t top = place.y * p->stride_y - p->pad, beside = 8 * p->stride_x;
        const int32_t left = place.part * DN_FIRST_ROWS * p->stride_x - p->pad;
        const int32_t corner = (top * p->w + left) * DN_PIXEL_BYTES;
        const char *image = (const char *)p->in + place.image * p->in_image * (int64_t)sizeof(T);
        DN_UNROLL
        for (int step = 0; step < DN_FIRST_STEPS; step++) DN_UNROLL
        for (int l = 0; l < DN_LANES; l++) {
            const bool in_row = (uint32_t)(top + y[step][l]) < (uint32_t)p->h;
            DN_UNROLL
            for (int half = 0; half < 2; half++) {
                const uint32_t from =
                    (uint32_t)(corner + at[step][l] + half * beside * DN_PIXEL_BYTES);
                const uint32_t column = (uint32_t)(left + x[step][l] + half * beside);
                const uint2 raw = dn_load_pixel(image + from, in_row && column < (uint32_t)p->w);
                a[step][l][half] = raw.x;
                a[step][l][2 + half] = raw.y;
            }
        }
    }
};

/* Ends a lane's filters of two pixels. */
template <class T, int COLUMNS>
static __device__ inline void dn_first_end(const dn_half_conv *p, const dn_first_place &at,
                                           dn_lane lane, int32_t first_column, float *values)
{
    const int32_t first = at.part * DN_FIRST_ROWS + lane.g, column = first_column + lane.q * 8;
    const int64_t pixel = ((int64_t)at.image * p->out_h + at.y) * p->out_w + first;
    T *out = (T *)p->out + pixel * p->out_pixel + column;
    dn_activate_all<COLUMNS / 2>(p->activation, values);
    DN_UNROLL
    for (int half = 0; half < 2; half++) DN_UNROLL
    for (int b = 0; b < COLUMNS / 32; b++) {
        float *eight = values + (half * (COLUMNS / 32) + b) * 8;
        if (first + 8 * half >= p->out_w || column + 32 * b >= p->filters) continue;
        if (p->planar_out)
            dn_store_planes(p, dn_plane_of(p, pixel + 8 * half, column + 32 * b), eight,
                            p->filters - column - 32 * b);
        else if (p->add || p->repeats > 1)
            dn_finish_eight<T>(p, eight, pixel + 8 * half, column + 32 * b, 0);
        else
            dn_store_eight(eight, out + half * 8 * p->out_pixel + 32 * b);
    }
}

/* A lane's filters of two pixels, from the products in the order of dn_first_filters. */
template <class T, int COLUMNS>
static __device__ inline void dn_first_multiply(const dn_first_filters<T, COLUMNS> &filters,
                                                const uint32_t a[DN_FIRST_STEPS][DN_LANES][4],
                                                float values[DN_LANES][COLUMNS / 2])
{
    DN_UNROLL
    for (int j = 0; j < COLUMNS / 8; j++) {
        float sums[DN_LANES][4];
        DN_UNROLL
        for (int l = 0; l < DN_LANES; l++) DN_UNROLL
        for (int e = 0; e < 4; e++) sums[l][e] = filters.shift[j / 4][l][j % 4 * 2 + e % 2];
        DN_UNROLL
        for (int step = 0; step < DN_FIRST_STEPS; step++)
            dn_multiply_lanes<T>(sums, a[step], filters.of[step][j]);
        DN_UNROLL
        for (int l = 0; l < DN_LANES; l++) DN_UNROLL
        for (int e = 0; e < 4; e++)
            values[l][(e / 2 * (COLUMNS / 32) + j / 4) * 8 + j % 4 * 2 + e % 2] = sums[l][e];
    }
}

/* Grid: blocks that share the pixels, tiles of columns. */
template <class T, int COLUMNS>
static __global__ void __launch_bounds__(DN_FIRST_WARPS *DN_WARP, dn_first_blocks<COLUMNS>())
    dn_half_first(const __grid_constant__ dn_half_conv conv, uint32_t units)
{
    if constexpr (DN_HAS_TENSOR(T)) {
        const dn_half_conv *p = &conv;
        const uint32_t step = gridDim.x * DN_FIRST_WARPS;
        uint32_t unit = blockIdx.x * DN_FIRST_WARPS + threadIdx.x / DN_WARP;
        const int32_t first_column = (int32_t)blockIdx.y * COLUMNS;
        const dn_first_taps taps(p);
        dn_first_place at(p, unit, step);
        dn_first_filters<T, COLUMNS> filters;
        uint32_t a[DN_FIRST_STEPS][DN_LANES][4];
        filters.load(p, first_column);
        dn_await_and_release();
        if (unit < units) taps.load<T>(p, at, a);
        for (; unit < units; unit += step) {
            const dn_first_place here = at;
            float values[DN_LANES][COLUMNS / 2];
            dn_first_multiply<T, COLUMNS>(filters, a, values);
            at.advance(p);
            if (unit + step < units) taps.load<T>(p, at, a); /* on their way while these end */
            DN_UNROLL
            for (int l = 0; l < DN_LANES; l++)
                dn_first_end<T, COLUMNS>(p, here, dn_lane_of(l), first_column, values[l]);
        }
    }
}

template <class T, int COLUMNS>
static dn_status dn_half_first_launch(const dn_half_conv *conv, dn_half_form,
                                      const dn_half_workspace *)
{
    const int64_t units =
        (int64_t)conv->images * conv->out_h * ((conv->out_w + DN_FIRST_ROWS - 1) / DN_FIRST_ROWS);
    const int64_t blocks = (units + DN_FIRST_WARPS - 1) / DN_FIRST_WARPS;
    int device = 0, processors = 0;
    DN_CUDA_TRY(cudaGetDevice(&device));
    DN_CUDA_TRY(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    const int64_t most = (int64_t)processors * dn_first_blocks<COLUMNS>();
    const dim3 grid((unsigned)(blocks < most ? blocks : most),
                    (unsigned)((conv->filters + COLUMNS - 1) / COLUMNS));
    DN_FOLLOW_TILES((dn_half_first<T, COLUMNS>), grid, DN_FIRST_WARPS * DN_WARP, 0, *conv,
                    (uint32_t)units);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

#define DN_FIRST(T, name, columns)                                                                 \
    {name, DN_FIRST_WARPS * DN_FIRST_ROWS,   columns, DN_FIRST_WARPS,                              \
     0,    dn_half_first_launch<T, columns>, 16}

#endif
