/* What ends a tile of half_tile.h: parts of sums are joined, eight channels at a time get bias,
 * activation and addend, and go to the output. */
#ifndef DN_CUDA_HALF_END_H
#define DN_CUDA_HALF_END_H

#include "half_shape.h"

/* Eight channels of a pixel, from their sums. */
template <class T>
static __device__ inline void dn_end_eight(const dn_half_conv *p, const float *sums, int64_t pixel,
                                           int32_t column, int32_t group)
{
    const int32_t channel = group * p->filters + column;
    float values[8], others[8];
    DN_UNROLL
    for (int e = 0; e < 8; e++)
        values[e] = dn_activate_fast(p->activation, sums[e] + p->shift[channel + e]);
    if (p->add) {
        dn_load_eight((const T *)p->add + pixel * p->add_pixel + channel, others);
        DN_UNROLL
        for (int e = 0; e < 8; e++)
            values[e] = dn_activate_fast(p->after_add, values[e] + others[e]);
    }
    T *out = (T *)p->out;
    if (p->enlargement == 1) {
        dn_store_eight(values, out + pixel * p->out_pixel + channel);
        return;
    }
    const int32_t n = p->enlargement, filters = p->filters / (n * n), tap = column / filters;
    const int32_t row = (int32_t)((uint32_t)pixel / (uint32_t)p->out_w); /* through all images */
    const int32_t x = (int32_t)pixel - row * p->out_w;
    const int64_t at = ((int64_t)row * n + tap / n) * p->out_w * n + (int64_t)x * n + tap % n;
    dn_store_eight(values, out + at * p->out_pixel + column - tap * filters);
}

static __device__ inline void dn_end_planar(const dn_half_conv *p, float sum, int64_t pixel,
                                            int32_t column, int32_t group)
{
    const int32_t plane = p->out_h * p->out_w, channel = group * p->filters + column;
    const int32_t image = (int32_t)((uint32_t)pixel / (uint32_t)plane);
    const int64_t map = (int64_t)image * p->groups * p->filters + channel;
    ((float *)p->out)[map * plane + (int32_t)pixel - image * plane] =
        dn_activate_fast(p->activation, sum + p->shift[channel]);
}

/* Sixteen rows of a warp's sums, which lie in `line`s of shared memory. */
template <class T, class S>
static __device__ inline void dn_end_rows(const dn_half_conv *p, const float *sums, int64_t row,
                                          int32_t column, int32_t group)
{
    const int64_t pixels = (int64_t)p->images * p->out_h * p->out_w;
    const int lane = (int)threadIdx.x % DN_WARP;
    if (p->planar_out) {
        for (int i = lane; i < DN_FRAGMENT * S::WARP_COLUMNS; i += DN_WARP) {
            const int r = i % DN_FRAGMENT, c = i / DN_FRAGMENT;
            if (row + r < pixels && column + c < p->filters)
                dn_end_planar(p, sums[r * S::LINE + c], row + r, column + c, group);
        }
        return;
    }
    const int eights = S::WARP_COLUMNS / 8;
    for (int i = lane; i < DN_FRAGMENT * eights; i += DN_WARP) {
        const int r = i / eights, c = i % eights * 8;
        if (row + r < pixels && column + c < p->filters)
            dn_end_eight<T>(p, sums + r * S::LINE + c, row + r, column + c, group);
    }
}

template <class T, class S>
static __device__ inline void dn_end_tile(const dn_half_conv *p, const dn_warp_sums<S> *sums,
                                          float *shared, int64_t first_row, int32_t first_column,
                                          int32_t group)
{
    float *own = shared + (int)threadIdx.x / DN_WARP * DN_FRAGMENT * S::LINE;
    DN_UNROLL
    for (int i = 0; i < dn_warp_sums<S>::DOWN; i++) {
        DN_UNROLL
        for (int j = 0; j < dn_warp_sums<S>::RIGHT; j++)
            nvcuda::wmma::store_matrix_sync(own + j * DN_FRAGMENT, sums->of[i][j], S::LINE,
                                            nvcuda::wmma::mem_row_major);
        __syncwarp();
        dn_end_rows<T, S>(p, own, first_row + dn_warp_row<S>() + i * DN_FRAGMENT,
                          first_column + dn_warp_column<S>(), group);
        __syncwarp();
    }
}

/* ---- Parts of sums ---- */

/* Where the warp's fragment lies in a part of the tile. */
template <class S> static __device__ inline int dn_part_at(int i, int j)
{
    return (dn_warp_row<S>() + i * DN_FRAGMENT) * S::COLUMNS + dn_warp_column<S>() +
           j * DN_FRAGMENT;
}

/* Writes this block's part; true in the block that comes last, whose sums are then all parts'. */
template <class S>
static __device__ inline bool dn_join_parts(dn_warp_sums<S> *sums, float *tile, int32_t *counter,
                                            int32_t *shared)
{
    using namespace nvcuda::wmma;
    const int32_t splits = (int32_t)gridDim.z, part = (int32_t)blockIdx.z;
    DN_UNROLL
    for (int i = 0; i < dn_warp_sums<S>::DOWN; i++) DN_UNROLL
    for (int j = 0; j < dn_warp_sums<S>::RIGHT; j++)
        store_matrix_sync(tile + (int64_t)part * S::ROWS * S::COLUMNS + dn_part_at<S>(i, j),
                          sums->of[i][j], S::COLUMNS, mem_row_major);
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) *shared = atomicAdd(counter, 1);
    __syncthreads();
    if (*shared != splits - 1) return false;
    if (threadIdx.x == 0) *counter = 0;
    __threadfence();
    DN_UNROLL
    for (int i = 0; i < dn_warp_sums<S>::DOWN; i++) {
        DN_UNROLL
        for (int j = 0; j < dn_warp_sums<S>::RIGHT; j++) {
            fill_fragment(sums->of[i][j], 0.0f);
            for (int32_t s = 0; s < splits; s++) {
                dn_sums other;
                load_matrix_sync(other,
                                 tile + (int64_t)s * S::ROWS * S::COLUMNS + dn_part_at<S>(i, j),
                                 S::COLUMNS, mem_row_major);
                DN_UNROLL
                for (int e = 0; e < other.num_elements; e++) sums->of[i][j].x[e] += other.x[e];
            }
        }
    }
    return true;
}

#endif
