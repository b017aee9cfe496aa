/* What ends the sums of a convolution (half_conv.h): eight channels at a time get bias, activation
 * and addend, and go to the output.
 *
 * A tile ends in a few thousand cycles of which most are waits, so that a thread takes up to four
 * pieces of eight channels together: all their addends are on the way before the first is needed,
 * those of the next four while these are ended, and the activation is asked for once. */
#ifndef DN_CUDA_HALF_END_H
#define DN_CUDA_HALF_END_H

#include "half_head.h"
#include "half_shape.h"
#include "quad.h"

/* ---- Eight channels ---- */

/* The eight floats from number `at` on, as two quads: with a pointer to them in place of both, nvcc
 * computes more addresses. */
static __device__ inline void dn_load_quads(const float *from, int at, float *values)
{
    const dn_quad *place = (const dn_quad *)(const void *)(from + at);
    const dn_quad quads[2] = {place[0], place[1]};
    memcpy(values, quads, sizeof quads);
}

/* values += the biases of eight channels, the first of which is a multiple of 8. */
static __device__ inline void dn_add_shift(const dn_half_conv *p, int32_t channel, float *values)
{
    float shifts[8];
    dn_load_quads(p->shift, channel, shifts);
    DN_UNROLL
    for (int e = 0; e < 8; e++) values[e] += shifts[e];
}

template <class T> static __device__ inline void dn_add_eight(uint4 raw, float *values)
{
    float addends[8];
    dn_widen_eight<T>(raw, addends);
    DN_UNROLL
    for (int e = 0; e < 8; e++) values[e] += addends[e];
}

/* Where eight channels of a pixel go; of an enlargement they are one of its pixels'. */
template <class T>
static __device__ inline T *dn_out_of(const dn_half_conv *p, int64_t pixel, int32_t column,
                                      int32_t group)
{
    T *out = (T *)p->out;
    if (p->enlargement == 1) return out + pixel * p->out_pixel + group * p->filters + column;
    const int32_t n = p->enlargement, filters = p->filters / (n * n), tap = column / filters;
    const int32_t row = (int32_t)((uint32_t)pixel / (uint32_t)p->out_w); /* through all images */
    const int32_t x = (int32_t)pixel - row * p->out_w;
    const int64_t at = ((int64_t)row * n + tap / n) * p->out_w * n + (int64_t)x * n + tap % n;
    return out + at * p->out_pixel + column - tap * filters;
}

template <class T>
static __device__ inline const uint4 *dn_addend_of(const dn_half_conv *p, int64_t pixel,
                                                   int32_t channel)
{
    return (const uint4 *)(const void *)((const T *)p->add + pixel * p->add_pixel + channel);
}

/* Eight channels of a pixel to the output; to all pixels that it becomes where it is repeated. */
template <class T>
static __device__ inline void dn_store_pixel(const dn_half_conv *p, const float *values,
                                             int64_t pixel, int32_t column, int32_t group)
{
    if (p->repeats == 1) {
        dn_store_eight(values, dn_out_of<T>(p, pixel, column, group));
        return;
    }
    const int32_t n = p->repeats, row = (int32_t)((uint32_t)pixel / (uint32_t)p->out_w);
    const int64_t at = ((int64_t)row * p->out_w * n + (int32_t)pixel - row * p->out_w) * n;
    T *out = (T *)p->out + at * p->out_pixel + group * p->filters + column;
    for (int32_t down = 0; down < n; down++)
        for (int32_t right = 0; right < n; right++)
            dn_store_eight(values, out + ((int64_t)down * p->out_w * n + right) * p->out_pixel);
}

/* Eight channels of a pixel behind their activation: the addend, and to the output. */
template <class T>
static __device__ inline void dn_finish_eight(const dn_half_conv *p, float *values, int64_t pixel,
                                              int32_t column, int32_t group)
{
    if (p->add) {
        dn_add_eight<T>(*dn_addend_of<T>(p, pixel, group * p->filters + column), values);
        dn_activate_all<8>(p->after_add, values);
    }
    dn_store_pixel<T>(p, values, pixel, column, group);
}

/* From their sums. */
template <class T>
static __device__ inline void dn_end_eight(const dn_half_conv *p, const float *sums, int64_t pixel,
                                           int32_t column, int32_t group)
{
    float values[8];
    DN_UNROLL
    for (int e = 0; e < 8; e++) values[e] = sums[e];
    dn_add_shift(p, group * p->filters + column, values);
    dn_activate_all<8>(p->activation, values);
    dn_finish_eight<T>(p, values, pixel, column, group);
}

/* A pixel of a channel's plane. */
static __device__ inline float *dn_plane_of(const dn_half_conv *p, int64_t pixel, int32_t channel)
{
    const int32_t plane = p->out_h * p->out_w;
    const int32_t image = (int32_t)((uint32_t)pixel / (uint32_t)plane);
    const int64_t map = (int64_t)image * p->groups * p->filters + channel;
    return (float *)p->out + map * plane + (int32_t)pixel - image * plane;
}

/* The first `count` of eight channels. */
static __device__ inline void dn_store_planes(const dn_half_conv *p, float *out,
                                              const float *values, int32_t count)
{
    const int64_t plane = p->out_h * p->out_w;
    DN_UNROLL
    for (int e = 0; e < 8; e++)
        if (e < count) out[e * plane] = values[e];
}

/* ---- Rows of sums ---- */

/* Rows of a warp's sums in units of 32 x 32 or 16 x 64, whose pieces of eight channels its threads
 * share: four threads take a row, which meets every bank of shared memory once. */
template <class S, int ROWS> struct dn_row_units {
    static const int ACROSS = S::WARP_COLUMNS % 32 == 0 ? 4 : 2; /* pieces */
    static const int DOWN = ROWS % 32 == 0 ? 32 : 16;
    static const int BLOCKS = DOWN == 16 && S::WARP_COLUMNS % (ACROSS * 16) == 0 ? 2 : 1;
    static const int COLUMNS = ACROSS * 8 * BLOCKS;
    static const int BESIDE = S::WARP_COLUMNS / COLUMNS, COUNT = ROWS / DOWN * BESIDE;
    static const int PIECES = DOWN * ACROSS * BLOCKS / DN_WARP; /* of one thread */
};

/* Where a thread's n-th piece of a unit lies: row and column of the warp's sums. */
typedef struct dn_piece_place {
    int row, column;
} dn_piece_place;

template <class S, int ROWS>
static __device__ inline dn_piece_place dn_place_of_piece(int unit, int n)
{
    typedef dn_row_units<S, ROWS> U;
    const int i = (int)threadIdx.x % DN_WARP + n * DN_WARP;
    dn_piece_place place;
    place.row = unit / U::BESIDE * U::DOWN + i / U::ACROSS % U::DOWN;
    place.column = unit % U::BESIDE * U::COLUMNS + i / (U::DOWN * U::ACROSS) * U::ACROSS * 8 +
                   i % U::ACROSS * 8;
    return place;
}

/* Ends ROWS rows of a warp's sums, the first of which is `row` and whose columns begin at `column`;
 * begin() may come before the sums are there. */
template <class T, class S, int ROWS> struct dn_row_end {
    typedef dn_row_units<S, ROWS> U;
    const dn_half_conv *p;
    int64_t row;
    int32_t column, group;
    uint4 addends[U::PIECES];

    __device__ dn_row_end(const dn_half_conv *conv, int64_t row_, int32_t column_, int32_t group_)
        : p(conv), row(row_), column(column_), group(group_)
    {
    }

    __device__ bool is_there(dn_piece_place at) const
    {
        return row + at.row < (int64_t)p->images * p->out_h * p->out_w &&
               column + at.column < p->filters;
    }

    __device__ void load(int unit)
    {
        DN_UNROLL
        for (int n = 0; n < U::PIECES; n++) {
            const dn_piece_place at = dn_place_of_piece<S, ROWS>(unit, n);
            if (is_there(at))
                addends[n] =
                    *dn_addend_of<T>(p, row + at.row, group * p->filters + column + at.column);
        }
    }

    __device__ void begin()
    {
        if (p->add) load(0);
    }

    __device__ void take(const float *sums, int unit, float *values) const
    {
        DN_UNROLL
        for (int n = 0; n < U::PIECES; n++) {
            const dn_piece_place at = dn_place_of_piece<S, ROWS>(unit, n);
            dn_load_quads(sums, at.row * S::LINE + at.column, values + 8 * n);
            if (column + at.column < p->filters)
                dn_add_shift(p, group * p->filters + column + at.column, values + 8 * n);
        }
        dn_activate_all<8 * U::PIECES>(p->activation, values);
    }

    /* The addends of the unit, in whose place those of the next come. */
    __device__ void add(int unit, float *values)
    {
        DN_UNROLL
        for (int n = 0; n < U::PIECES; n++) dn_add_eight<T>(addends[n], values + 8 * n);
        if (unit + 1 < U::COUNT) load(unit + 1);
        dn_activate_all<8 * U::PIECES>(p->after_add, values);
    }

    __device__ void end(const float *sums)
    {
        for (int unit = 0; unit < U::COUNT; unit++) {
            float values[8 * U::PIECES];
            take(sums, unit, values);
            if (p->add) add(unit, values);
            DN_UNROLL
            for (int n = 0; n < U::PIECES; n++) {
                const dn_piece_place at = dn_place_of_piece<S, ROWS>(unit, n);
                if (is_there(at))
                    dn_store_pixel<T>(p, values + 8 * n, row + at.row, column + at.column, group);
            }
        }
    }
};

/* Planes: a thread stays in its pixel, so that neighbours write neighbouring ones. */
template <class S, int ROWS>
static __device__ inline void dn_end_planes(const dn_half_conv *p, const float *sums, int64_t row,
                                            int32_t column, int32_t group)
{
    const int DOWN = ROWS < DN_WARP ? ROWS : DN_WARP, lane = (int)threadIdx.x % DN_WARP;
    const int32_t plane = p->out_h * p->out_w, channel = group * p->filters + column;
    for (int r = lane % DOWN; r < ROWS; r += DOWN) {
        if (row + r >= (int64_t)p->images * plane) return;
        float *out = dn_plane_of(p, row + r, channel);
        for (int c = lane / DOWN * 8; c < S::WARP_COLUMNS && column + c < p->filters;
             c += DN_WARP / DOWN * 8) {
            float values[8];
            dn_load_quads(sums, r * S::LINE + c, values);
            dn_add_shift(p, channel + c, values);
            dn_activate_all<8>(p->activation, values);
            if (p->head.entries > 0) dn_end_head(&p->head, channel + c, values);
            dn_store_planes(p, out + (int64_t)c * plane, values, p->filters - column - c);
        }
    }
}

/* Sixteen rows of a warp's sums, which lie in lines of S::LINE floats of shared memory, a multiple
 * of 4. */
template <class T, class S>
static __device__ inline void dn_end_rows(const dn_half_conv *p, const float *sums, int64_t row,
                                          int32_t column, int32_t group)
{
    if (p->planar_out) {
        dn_end_planes<S, DN_FRAGMENT>(p, sums, row, column, group);
        return;
    }
    dn_row_end<T, S, DN_FRAGMENT> end(p, row, column, group);
    end.begin();
    end.end(sums);
}

/* All of a block's, through shared memory of S::SUMS bytes. */
template <class T, class S>
static __device__ inline void dn_end_tile(const dn_half_conv *p, const dn_warp_sums<S> *sums,
                                          float *shared, int64_t first_row, int32_t first_column,
                                          int32_t group)
{
    const int64_t row = first_row + dn_warp_row<S>();
    const int32_t column = first_column + dn_warp_column<S>();
    float *own = shared + (int)threadIdx.x / DN_WARP * S::WARP_ROWS * S::LINE;
    dn_row_end<T, S, S::WARP_ROWS> end(p, row, column, group);
    end.begin();
    DN_UNROLL
    for (int i = 0; i < dn_warp_sums<S>::DOWN; i++) DN_UNROLL
    for (int j = 0; j < dn_warp_sums<S>::RIGHT; j++)
        nvcuda::wmma::store_matrix_sync(own + i * DN_FRAGMENT * S::LINE + j * DN_FRAGMENT,
                                        sums->of[i][j], S::LINE, nvcuda::wmma::mem_row_major);
    __syncwarp();
    if (p->planar_out)
        dn_end_planes<S, S::WARP_ROWS>(p, own, row, column, group);
    else
        end.end(own);
}

#endif
