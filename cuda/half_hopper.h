/* The kernel of a tile by warpgroups (warpgroup.h), for Hopper: see half_conv.h.
 *
 * As in half_tile.h a block of threads owns ROWS output pixels x COLUMNS filters of one group and
 * one part of the sum, and walks along the sum in slabs, here of 64 values, whose pieces of 16
 * bytes are copied some slabs ahead. Each warpgroup multiplies 64 rows by COLUMNS / ACROSS columns,
 * straight from shared memory and in the background: while the products of a slab run, another is
 * asked for, into the stage of the last one whose products have ended. One barrier a slab. Where a
 * block has a processor for itself the products of one slab go on while those of the next begin
 * (LEFT 1); where blocks share one the stage that this takes is better filled. A block that is
 * alone and has one warp for each scheduler waits for its own instructions most of the time: two
 * warpgroups ACROSS share the copies of a slab.
 *
 * Where the sum is split, the blocks of its parts are a cluster. Each leaves its sums in its own
 * shared memory; then the tile is cut into pieces of 16 x DN_END_COLUMNS, which the warps of all
 * blocks share. A warp adds a piece from all blocks, first to last, and ends it: nothing goes
 * through the GPU's memory, and no block waits for the work of another.
 *
 * Limits: compute capability 9.0 alone (half_rules.cu asks for it), parts of at most DN_MOST_PARTS.
 */
#ifndef DN_CUDA_HALF_HOPPER_H
#define DN_CUDA_HALF_HOPPER_H

#include "half_end.h"
#include "half_slabs.h"

#include <warpgroup.h>

/* Columns of a piece of the end; blocks whose sums are read before any is added. */
enum { DN_ALIGNED = 1024, DN_END_COLUMNS = 32, DN_AT_ONCE = 2 };

/* Where dn_end_rows finds a warp's sums. */
template <int COLUMNS> struct dn_end_shape {
    static const int WARP_COLUMNS = COLUMNS, LINE = COLUMNS + 4;
    static const size_t BYTES = (size_t)DN_FRAGMENT * LINE * sizeof(float); /* of a warp */
};

template <int ROWS_, int COLUMNS_, int ACROSS_, int STAGES_, int LEFT_> struct dn_hopper_shape {
    static const int ROWS = ROWS_, COLUMNS = COLUMNS_, STAGES = STAGES_;
    static const int ACROSS = ACROSS_, OWN = COLUMNS / ACROSS; /* warpgroups; columns of one */
    static const int LEFT = LEFT_;                             /* slabs whose products go on */
    static const int AHEAD = STAGES - 1 - LEFT;                /* slabs that are asked for */
    static const int SLAB = 64, PIECES = SLAB / 8;
    static const int WARPS = ROWS / DN_FRAGMENT * ACROSS, THREADS = WARPS * DN_WARP;
    /* As many as threads, but where a warp is one thread and those are fewer than pieces. */
    static const int COPIERS = THREADS < PIECES ? PIECES : THREADS;
    static const int OF_THREAD = COPIERS / THREADS;
    static const int PIECES_OF_ROWS = ROWS * PIECES / COPIERS;
    static const int PIECES_OF_COLUMNS = (COLUMNS * PIECES + COPIERS - 1) / COPIERS;
    static const int STAGE = (ROWS + COLUMNS) * SLAB; /* values */
    static const int SUMS = DN_FRAGMENT * OWN / DN_WARP;
    static const int PIECE = DN_FRAGMENT * DN_END_COLUMNS / DN_WARP; /* sums of a thread */
    static const size_t PARTS = (size_t)ROWS * COLUMNS * sizeof(float);
    /* Stages are aligned by hand: what tells the compiler may be forgotten by the linker. */
    static const size_t BYTES = (size_t)STAGES * STAGE * 2 + DN_ALIGNED;
    static const int BLOCKS = (int)((227 << 10) / (BYTES + 1024)); /* that fit a processor */

    /* Where a piece of a row of the stage lies, in values: see warpgroup.h. */
    static __device__ int place(int row, int piece)
    {
        return row * SLAB + (piece ^ (row & 7)) * 8;
    }

    static_assert(ROWS % 64 == 0 && STAGE * 2 % DN_ALIGNED == 0, "stages stay aligned");
    static_assert(OWN % DN_END_COLUMNS == 0, "pieces of the end");
    static_assert(WARPS * dn_end_shape<OWN>::BYTES + DN_ALIGNED <= BYTES, "sums of a tile");
    static_assert(PARTS + WARPS * dn_end_shape<DN_END_COLUMNS>::BYTES + DN_ALIGNED <= BYTES,
                  "a part of the sums and what ends it");
};

/* Where in the tile the sums of a warp lie. */
template <class S> static __device__ inline int dn_hopper_row(int warp)
{
    return warp / (4 * S::ACROSS) * 64 + warp % 4 * DN_FRAGMENT;
}

template <class S> static __device__ inline int dn_hopper_column(int warp)
{
    return warp / 4 % S::ACROSS * S::OWN;
}

/* Which part of the work is this block's. */
typedef struct dn_hopper_tile {
    int64_t row;
    int32_t column, group;
    int32_t begin, end; /* slabs */
} dn_hopper_tile;

template <class S> static __device__ inline dn_hopper_tile dn_hopper_tile_of(const dn_half_conv *p)
{
    const int32_t across = (p->filters + S::COLUMNS - 1) / S::COLUMNS;
    const int32_t slabs = (p->k + S::SLAB - 1) / S::SLAB;
    const int32_t share = (slabs + (int32_t)gridDim.z - 1) / (int32_t)gridDim.z;
    dn_hopper_tile tile;
    tile.group = (int32_t)blockIdx.y / across;
    tile.column = ((int32_t)blockIdx.y - tile.group * across) * S::COLUMNS;
    tile.row = (int64_t)blockIdx.x * S::ROWS;
    tile.begin = (int32_t)blockIdx.z * share;
    tile.end = tile.begin + share < slabs ? tile.begin + share : slabs;
    return tile;
}

/* The thread's copiers of slabs, and their work as that of one. */
template <class T, class S> struct dn_hopper_copiers {
    dn_slab_copier<T, S, false> first;
    dn_slab_copier<T, S, false> second; /* unused but for OF_THREAD 2 */

    __device__ dn_hopper_copiers(const dn_half_conv *p, const dn_hopper_tile *tile)
        : first(p, (int)threadIdx.x, tile->row, tile->group, tile->column, tile->begin),
          second(p, (int)threadIdx.x + (S::OF_THREAD - 1) * S::THREADS, tile->row, tile->group,
                 tile->column, tile->begin)
    {
    }

    __device__ void rows(T *stage)
    {
        first.rows(stage);
        if (S::OF_THREAD == 2) second.rows(stage);
    }

    __device__ void columns(T *stage)
    {
        first.columns(stage);
        if (S::OF_THREAD == 2) second.columns(stage);
    }
};

/* sums = the block's part of the sum. */
template <class T, class S>
static __device__ inline void dn_hopper_add(const dn_half_conv *p, const dn_hopper_tile *tile,
                                            T *stages, float (&sums)[S::SUMS])
{
    const int32_t count = tile->end - tile->begin;
    dn_hopper_copiers<T, S> copiers(p, tile);
    const int group = dn_warp_number() / 4;
    const dn_factor a = dn_factor_at(stages + dn_hopper_row<S>(4 * group) * S::SLAB);
    const dn_factor b = dn_factor_at(stages + (S::ROWS + dn_hopper_column<S>(4 * group)) * S::SLAB);
    DN_UNROLL
    for (int e = 0; e < S::SUMS; e++) sums[e] = 0.0f;
    for (int s = 0; s < S::AHEAD && s < count; s++) copiers.columns(stages + s * S::STAGE);
    dn_await_and_release();
    for (int s = 0; s < S::AHEAD; s++) {
        if (s < count) copiers.rows(stages + s * S::STAGE);
        __pipeline_commit();
    }
    int stage = 0, ahead = S::AHEAD;
    for (int32_t slab = 0; slab < count; slab++) {
        __pipeline_wait_prior(S::AHEAD - 1);
        dn_show_to_products();
        __syncthreads(); /* the slab is there, and LEFT products go on */
        dn_multiply_rows<T>(sums, dn_factor_behind(a, stage * S::STAGE * 2),
                            dn_factor_behind(b, stage * S::STAGE * 2));
        if (slab + S::AHEAD < count) {
            copiers.rows(stages + ahead * S::STAGE);
            copiers.columns(stages + ahead * S::STAGE);
        }
        __pipeline_commit();
        dn_wait_for_products<S::LEFT>();
        stage = stage + 1 == S::STAGES ? 0 : stage + 1;
        ahead = ahead + 1 == S::STAGES ? 0 : ahead + 1;
    }
    dn_wait_for_sums(sums);
    __syncthreads(); /* no warpgroup reads a stage any more */
}

/* ---- Ends ---- */

template <class T, class S>
static __device__ inline void dn_hopper_end(const dn_half_conv *p, const dn_hopper_tile *tile,
                                            char *shared, const float (&sums)[S::SUMS])
{
    typedef dn_end_shape<S::OWN> E;
    const int warp = (int)threadIdx.x / DN_WARP;
    float *own = (float *)(void *)(shared + warp * E::BYTES);
    dn_write_sums<S::OWN>(sums, own, E::LINE);
    __syncwarp();
    dn_end_rows<T, E>(p, own, tile->row + dn_hopper_row<S>(warp),
                      tile->column + dn_hopper_column<S>(warp), tile->group);
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
    const int OF_WARP = S::OWN / DN_END_COLUMNS;
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
        dn_end_rows<T, E>(p, own, tile->row + dn_hopper_row<S>(of),
                          tile->column + dn_hopper_column<S>(of) + i % OF_WARP * DN_END_COLUMNS,
                          tile->group);
        __syncwarp();
    }
    dn_leave_cluster(); /* nobody reads this block's part any more */
}

/* Grid: tiles of rows, tiles of columns of all groups, parts of the sum. */
template <class T, class S>
static __global__ void __launch_bounds__(S::THREADS, S::BLOCKS)
    dn_hopper_multiply(const __grid_constant__ dn_half_conv conv)
{
    DN_DYNAMIC_SHARED(anywhere);
    char *shared = anywhere + (0u - dn_shared_address(anywhere)) % DN_ALIGNED;
    const dn_hopper_tile tile = dn_hopper_tile_of<S>(&conv);
    float sums[S::SUMS];
    dn_hopper_add<T, S>(&conv, &tile, (T *)(void *)shared, sums);
    if (gridDim.z == 1)
        dn_hopper_end<T, S>(&conv, &tile, shared, sums);
    else
        dn_hopper_join<T, S>(&conv, &tile, shared, sums);
}

template <class T, class S>
static dn_status dn_hopper_launch(const dn_half_conv *conv, dn_half_form form,
                                  const dn_half_workspace *)
{
    const int64_t pixels = (int64_t)conv->images * conv->out_h * conv->out_w;
    const int32_t across = (conv->filters + S::COLUMNS - 1) / S::COLUMNS;
    const dim3 grid((unsigned)((pixels + S::ROWS - 1) / S::ROWS), (unsigned)(across * conv->groups),
                    (unsigned)form.splits);
    DN_CUDA_TRY(cudaFuncSetAttribute((const void *)dn_hopper_multiply<T, S>,
                                     cudaFuncAttributeMaxDynamicSharedMemorySize, (int)S::BYTES));
    DN_FOLLOW_CLUSTERS((dn_hopper_multiply<T, S>), grid, S::THREADS, S::BYTES, dim3(1, 1, grid.z),
                       *conv);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* The list of a type: half_hopper_fp16.cu and half_hopper_bf16.cu make one each. Stages: two or
 * three blocks fit a processor but of the largest tiles, which leave 60 KB of it as cache, and of
 * those of two warpgroups across, which are for maps that are too small to fill a GPU. */
#define DN_HOPPER(T, name, rows, columns, ...)                                                     \
    {name,                                                                                         \
     rows,                                                                                         \
     columns,                                                                                      \
     dn_hopper_shape<rows, columns, __VA_ARGS__>::WARPS,                                           \
     dn_hopper_shape<rows, columns, __VA_ARGS__>::BYTES,                                           \
     dn_hopper_launch<T, dn_hopper_shape<rows, columns, __VA_ARGS__>>,                             \
     DN_TILE_COPIED}

/* Rows, columns, warpgroups across, stages, slabs whose products go on. */
#define DN_HOPPER_TILES(T, type)                                                                   \
    static const dn_half_tile tiles_##type[] = {                                                   \
        DN_HOPPER(T, "w64x64", 64, 64, 1, 6, 0),                                                   \
        DN_HOPPER(T, "w64x128", 64, 128, 1, 4, 0),                                                 \
        DN_HOPPER(T, "w128x32", 128, 32, 1, 3, 0),                                                 \
        DN_HOPPER(T, "w128x64", 128, 64, 1, 3, 0),                                                 \
        DN_HOPPER(T, "w128x128", 128, 128, 1, 3, 0),                                               \
        DN_HOPPER(T, "w128x256", 128, 256, 1, 4, 1),                                               \
        DN_HOPPER(T, "w256x128", 256, 128, 1, 4, 1),                                               \
        DN_HOPPER(T, "w64x64 x2", 64, 64, 2, 6, 0),                                                \
        DN_HOPPER(T, "w64x128 x2", 64, 128, 2, 6, 1),                                              \
        DN_HOPPER(T, "w128x128 x2", 128, 128, 2, 5, 1),                                            \
    };                                                                                             \
    const dn_half_tiles dn_half_hopper_##type = {sizeof tiles_##type / sizeof *tiles_##type,       \
                                                 tiles_##type};

#endif
