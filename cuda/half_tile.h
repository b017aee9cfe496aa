/* The kernel of a tile: see half_conv.h.
 *
 * A block of threads owns ROWS output pixels x COLUMNS filters of one group and one part of the
 * sum. It walks along the sum in slabs of 32 values, whose parts of both factors are copied into
 * shared memory some slabs ahead of the products (cp.async where the GPU has it), and multiplies on
 * tensor cores (wmma). In a slab of 16-byte pieces every thread copies the same column of pieces of
 * several rows, so that it works out once which tap and channels they are. Sums end in shared
 * memory, where they change from the tensor cores' order to channels; eight channels at a time get
 * bias, activation and sum, and go to the output.
 *
 * Of several parts of a sum each is written to the workspace; the block that comes last adds them,
 * first to last whoever that is, and ends the tile.
 */
#ifndef DN_CUDA_HALF_TILE_H
#define DN_CUDA_HALF_TILE_H

#include "half_end.h"
#include "half_parts.h"
#include "half_slabs.h"

/* sums += the products of a slab. */
template <class T, class S>
static __device__ inline void dn_multiply_slab(const T *stage, dn_warp_sums<S> *sums)
{
    using namespace nvcuda::wmma;
    const T *rows = stage + dn_warp_row<S>() * DN_PITCH;
    const T *columns = stage + (S::ROWS + dn_warp_column<S>()) * DN_PITCH;
    DN_UNROLL
    for (int k = 0; k < DN_SLAB; k += DN_FRAGMENT) {
        fragment<matrix_a, 16, 16, 16, T, row_major> a[dn_warp_sums<S>::DOWN];
        fragment<matrix_b, 16, 16, 16, T, col_major> b[dn_warp_sums<S>::RIGHT];
        DN_UNROLL
        for (int i = 0; i < dn_warp_sums<S>::DOWN; i++)
            load_matrix_sync(a[i], rows + i * DN_FRAGMENT * DN_PITCH + k, DN_PITCH);
        DN_UNROLL
        for (int j = 0; j < dn_warp_sums<S>::RIGHT; j++)
            load_matrix_sync(b[j], columns + j * DN_FRAGMENT * DN_PITCH + k, DN_PITCH);
        DN_UNROLL
        for (int i = 0; i < dn_warp_sums<S>::DOWN; i++) DN_UNROLL
        for (int j = 0; j < dn_warp_sums<S>::RIGHT; j++)
            mma_sync(sums->of[i][j], a[i], b[j], sums->of[i][j]);
    }
}

/* ---- The kernel ---- */

/* sums = the block's part of the sum. */
template <class T, class S, bool PIXELS>
static __device__ inline void dn_multiply(const dn_half_conv *p, T *stages, int64_t first_row,
                                          int32_t first_column, int32_t group,
                                          dn_warp_sums<S> *sums)
{
    const int32_t slabs = (p->k + DN_SLAB - 1) / DN_SLAB;
    const int32_t share = (slabs + (int32_t)gridDim.z - 1) / (int32_t)gridDim.z;
    const int32_t begin = (int32_t)blockIdx.z * share;
    const int32_t end = begin + share < slabs ? begin + share : slabs;
    const int stage_values = (int)(S::STAGE / sizeof(T));
    dn_slab_copier<T, S, PIXELS> copier(p, first_row, group, first_column, begin);
    DN_UNROLL
    for (int i = 0; i < dn_warp_sums<S>::DOWN; i++) DN_UNROLL
    for (int j = 0; j < dn_warp_sums<S>::RIGHT; j++)
        nvcuda::wmma::fill_fragment(sums->of[i][j], 0.0f);
    copier.begin(stages, S::STAGES - 1, end - begin);
    int stage = 0;
    for (int32_t slab = begin; slab < end; slab++) {
        const int ahead = stage == 0 ? S::STAGES - 1 : stage - 1;
        __pipeline_wait_prior(S::STAGES - 2);
        __syncthreads(); /* the slab is there, and nobody reads the one before */
        if (slab + S::STAGES - 1 < end) copier.copy(stages + ahead * stage_values);
        __pipeline_commit();
        dn_multiply_slab<T, S>(stages + stage * stage_values, sums);
        stage = stage + 1 == S::STAGES ? 0 : stage + 1;
    }
    __pipeline_wait_prior(0);
    __syncthreads();
}

/* Grid: tiles of rows, tiles of columns of all groups, parts of the sum. */
template <class T, class S, bool PIXELS>
static __global__ void __launch_bounds__(S::THREADS)
    dn_half_multiply(const __grid_constant__ dn_half_conv conv,
                     const __grid_constant__ dn_half_workspace workspace)
{
    if constexpr (DN_HAS_TENSOR(T)) {
        DN_DYNAMIC_SHARED(shared);
        const int32_t across = (conv.filters + S::COLUMNS - 1) / S::COLUMNS;
        const int32_t group = (int32_t)blockIdx.y / across;
        const int32_t first_column = ((int32_t)blockIdx.y - group * across) * S::COLUMNS;
        const int64_t first_row = (int64_t)blockIdx.x * S::ROWS;
        dn_warp_sums<S> sums;
        dn_multiply<T, S, PIXELS>(&conv, (T *)(void *)shared, first_row, first_column, group,
                                  &sums);
        if (gridDim.z > 1) {
            const int64_t tile = (int64_t)blockIdx.y * gridDim.x + blockIdx.x;
            float *parts = workspace.parts + tile * gridDim.z * S::ROWS * S::COLUMNS;
            if (!dn_join_parts<S>(&sums, parts, workspace.counters + tile,
                                  (int32_t *)(void *)shared))
                return;
            __syncthreads(); /* the count has been read */
        }
        dn_end_tile<T, S>(&conv, &sums, (float *)(void *)shared, first_row, first_column, group);
    }
}

template <class T, class S, bool PIXELS>
static dn_status dn_half_launch(const dn_half_conv *conv, dn_half_form form,
                                const dn_half_workspace *workspace)
{
    const int64_t pixels = (int64_t)conv->images * conv->out_h * conv->out_w;
    const int32_t across = (conv->filters + S::COLUMNS - 1) / S::COLUMNS;
    const dim3 grid((unsigned)((pixels + S::ROWS - 1) / S::ROWS), (unsigned)(across * conv->groups),
                    (unsigned)form.splits);
    if (S::BYTES > 48 << 10)
        DN_CUDA_TRY(cudaFuncSetAttribute((const void *)dn_half_multiply<T, S, PIXELS>,
                                         cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         (int)S::BYTES));
    DN_FOLLOW_TILES((dn_half_multiply<T, S, PIXELS>), grid, S::THREADS, S::BYTES, *conv,
                    *workspace);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

#define DN_TILE(T, pixels, name, shape)                                                            \
    {name,         shape::ROWS,  shape::COLUMNS,                                                   \
     shape::WARPS, shape::BYTES, dn_half_launch<T, shape, pixels>,                                 \
     shape::SLAB}

typedef dn_tile_shape<128, 128, 64, 32, 4> dn_tile_128_128;
typedef dn_tile_shape<128, 64, 64, 32, 4> dn_tile_128_64;
typedef dn_tile_shape<64, 128, 32, 64, 4> dn_tile_64_128;
typedef dn_tile_shape<64, 64, 32, 32, 4> dn_tile_64_64;
typedef dn_tile_shape<128, 32, 32, 32, 4> dn_tile_128_32;
typedef dn_tile_shape<32, 64, 16, 32, 4> dn_tile_32_64;

#endif
