/* Joins the parts of a tile's sums (half_tile.h): each block writes its part to the workspace, and
 * the block that comes last adds them, first to last whoever that is. */
#ifndef DN_CUDA_HALF_PARTS_H
#define DN_CUDA_HALF_PARTS_H

#include "half_shape.h"
#include "quad.h"

/* A warp's sums as quads, which lie in a part of the tile so that its threads' follow each other:
 * who reads them has them in the same fragments. */
template <class S> struct dn_part_quads {
    static const int OF_FRAGMENT = dn_sums::num_elements / 4;
    static const int COUNT = dn_warp_sums<S>::DOWN * dn_warp_sums<S>::RIGHT * OF_FRAGMENT;
    static const int AT_ONCE = COUNT < 16 ? 16 / COUNT : 1; /* parts: 16 loads on the way */
};

template <class S> static __device__ inline dn_quad *dn_part_at(float *tile, int32_t part)
{
    const int warp = (int)threadIdx.x / DN_WARP, lane = (int)threadIdx.x % DN_WARP;
    float *own =
        tile + (int64_t)part * S::ROWS * S::COLUMNS + warp * S::WARP_ROWS * S::WARP_COLUMNS;
    return (dn_quad *)(void *)own + lane;
}

/* The k-th quad of a warp's sums. */
template <class S> static __device__ inline float *dn_sums_quad(dn_warp_sums<S> *sums, int k)
{
    const int fragment = k / dn_part_quads<S>::OF_FRAGMENT;
    return sums->of[fragment / dn_warp_sums<S>::RIGHT][fragment % dn_warp_sums<S>::RIGHT].x +
           k % dn_part_quads<S>::OF_FRAGMENT * 4;
}

/* sums = all parts, added first to last. All loads of a part go before its sums. */
template <class S>
static __device__ inline void dn_add_parts(dn_warp_sums<S> *sums, float *tile, int32_t splits)
{
    typedef dn_part_quads<S> Q;
    DN_UNROLL
    for (int i = 0; i < dn_warp_sums<S>::DOWN; i++) DN_UNROLL
    for (int j = 0; j < dn_warp_sums<S>::RIGHT; j++)
        nvcuda::wmma::fill_fragment(sums->of[i][j], 0.0f);
    for (int32_t s = 0; s < splits; s += Q::AT_ONCE) {
        dn_quad others[Q::AT_ONCE][Q::COUNT];
        DN_UNROLL
        for (int a = 0; a < Q::AT_ONCE; a++) DN_UNROLL
        for (int k = 0; k < Q::COUNT; k++)
            if (s + a < splits) others[a][k] = dn_part_at<S>(tile, s + a)[k * DN_WARP];
        DN_UNROLL
        for (int a = 0; a < Q::AT_ONCE; a++) DN_UNROLL
        for (int k = 0; k < Q::COUNT; k++) {
            if (s + a >= splits) continue;
            float *sum = dn_sums_quad(sums, k);
            sum[0] += others[a][k].x;
            sum[1] += others[a][k].y;
            sum[2] += others[a][k].z;
            sum[3] += others[a][k].w;
        }
    }
}

/* Writes this block's part; true in the block that comes last, whose sums are then all parts'. */
template <class S>
static __device__ inline bool dn_join_parts(dn_warp_sums<S> *sums, float *tile, int32_t *counter,
                                            int32_t *shared)
{
    const int32_t splits = (int32_t)gridDim.z;
    dn_quad *own = dn_part_at<S>(tile, (int32_t)blockIdx.z);
    DN_UNROLL
    for (int k = 0; k < dn_part_quads<S>::COUNT; k++) {
        const float *sum = dn_sums_quad(sums, k);
        own[k * DN_WARP] = {sum[0], sum[1], sum[2], sum[3]};
    }
    __syncthreads();
    if (threadIdx.x == 0) { /* its fences are the block's: they order what it has met, too */
        __threadfence();
        *shared = atomicAdd(counter, 1);
        if (*shared == splits - 1) *counter = 0;
        __threadfence();
    }
    __syncthreads();
    if (*shared != splits - 1) return false;
    dn_add_parts(sums, tile, splits);
    return true;
}

#endif
