/* How a tile by warpgroups ends (half_hopper.h): its sums to the output, by the warps that have
 * them; or, where the sum is split, joined.
 *
 * The blocks of a sum's parts are in a cluster. Each leaves its sums in its own shared memory; then
 * the tile is cut into pieces of 16 x DN_END_COLUMNS, which the warps of all blocks share. A warp
 * adds a piece from all blocks, first to last, and ends it: nothing goes through the GPU's memory,
 * and no block waits for the work of another.
 */
#ifndef DN_CUDA_HALF_HOPPER_END_H
#define DN_CUDA_HALF_HOPPER_END_H

#include "half_end.h"

#include <warpgroup.h>

/* Columns of a piece of the end; blocks whose sums are read before any is added. */
enum { DN_ALIGNED = 1024, DN_END_COLUMNS = 32, DN_AT_ONCE = 2 };

/* Where dn_end_rows finds a warp's sums. */
template <int COLUMNS> struct dn_end_shape {
    static const int WARP_COLUMNS = COLUMNS, LINE = COLUMNS + 4;
    static const size_t BYTES = (size_t)DN_FRAGMENT * LINE * sizeof(float); /* of a warp */
};

/* Where in the tile the sums of a warp begin. */
static __device__ inline int dn_hopper_row(int warp)
{
    return warp / 4 * 64 + warp % 4 * DN_FRAGMENT;
}

/* Which part of the work is this block's. */
typedef struct dn_hopper_tile {
    int64_t row;
    int32_t column, group;
    int32_t begin, end; /* slabs */
} dn_hopper_tile;

template <class T, class S>
static __device__ inline void dn_hopper_end(const dn_half_conv *p, const dn_hopper_tile *tile,
                                            char *shared, const float (&sums)[S::SUMS])
{
    typedef dn_end_shape<S::COLUMNS> E;
    const int warp = (int)threadIdx.x / DN_WARP;
    float *own = (float *)(void *)(shared + warp * E::BYTES);
    dn_write_sums<S::COLUMNS>(sums, own, E::LINE);
    __syncwarp();
    dn_end_rows<T, E>(p, own, tile->row + dn_hopper_row(warp), tile->column, tile->group);
}

/* sums = those of a piece, of all blocks in order. Thread after thread has four sums and four
 * again, as dn_hopper_join leaves them. */
template <class S>
static __device__ inline void dn_hopper_gather(const float *part, float (&sums)[S::PIECE])
{
    const int lane = (int)threadIdx.x % DN_WARP, blocks = (int)gridDim.z;
    const dim3 place = dn_cluster_place(), size = dn_cluster_size();
    const uint32_t beside = size.x * size.y, own = place.y * size.x + place.x;
    DN_UNROLL
    for (int e = 0; e < S::PIECE; e++) sums[e] = 0.0f;
    for (int first = 0; first < blocks; first += DN_AT_ONCE) {
        float4 found[DN_AT_ONCE][S::PIECE / 4] = {};
        DN_UNROLL
        for (int k = 0; k < DN_AT_ONCE; k++) {
            if (first + k >= blocks) break;
            const float *from = dn_of_block(part, (uint32_t)(first + k) * beside + own) + lane * 4;
            DN_UNROLL
            for (int e = 0; e < S::PIECE; e += 4)
                found[k][e / 4] = *(const float4 *)(const void *)(from + e * DN_WARP);
        }
        DN_UNROLL
        for (int k = 0; k < DN_AT_ONCE; k++) DN_UNROLL
        for (int e = 0; e < S::PIECE; e += 4) {
            sums[e] += found[k][e / 4].x;
            sums[e + 1] += found[k][e / 4].y;
            sums[e + 2] += found[k][e / 4].z;
            sums[e + 3] += found[k][e / 4].w;
        }
    }
}

template <class T, class S>
static __device__ inline void dn_hopper_join(const dn_half_conv *p, const dn_hopper_tile *tile,
                                             char *shared, const float (&sums)[S::SUMS])
{
    typedef dn_end_shape<DN_END_COLUMNS> E;
    const int PIECE = DN_FRAGMENT * DN_END_COLUMNS; /* sums; a warp's pieces follow each other */
    const int OF_WARP = S::COLUMNS / DN_END_COLUMNS;
    const int warp = (int)threadIdx.x / DN_WARP, lane = (int)threadIdx.x % DN_WARP;
    float *parts = (float *)(void *)shared;
    float *own = (float *)(void *)(shared + S::PARTS + warp * E::BYTES);
    const bool computes = warp < S::WARPS;
    if (computes) DN_UNROLL
    for (int e = 0; e < S::SUMS; e += 4)
        *(float4 *)(void *)(parts + warp * OF_WARP * PIECE + e * DN_WARP + lane * 4) =
            make_float4(sums[e], sums[e + 1], sums[e + 2], sums[e + 3]);
    dn_meet_cluster();
    for (int i = (int)blockIdx.z * S::WARPS + warp; computes && i < S::WARPS * OF_WARP;
         i += (int)gridDim.z * S::WARPS) {
        float piece[S::PIECE];
        dn_hopper_gather<S>(parts + i * PIECE, piece);
        dn_write_sums<DN_END_COLUMNS>(piece, own, E::LINE);
        __syncwarp();
        const int of = i / OF_WARP; /* the warp that has made it */
        dn_end_rows<T, E>(p, own, tile->row + dn_hopper_row(of),
                          tile->column + i % OF_WARP * DN_END_COLUMNS, tile->group);
        __syncwarp();
    }
    dn_leave_cluster(); /* nobody reads this block's part any more */
}

#endif
