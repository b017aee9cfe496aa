/* The first convolution, 3 x 3 taps of the network's pixels: see half_conv.h.
 *
 * A filter has 27 values, one slab of 32. A thread loads the nine pixels of a window, 8 bytes each,
 * and writes the slab into shared memory; a warp multiplies the 32 windows that its own threads
 * have written, ends them and goes on to the next ones, so that no warp waits for another. The
 * filters stay in fragments: such a layer reads little and writes much, and its time is that of the
 * output.
 */
#ifndef DN_CUDA_HALF_FIRST_H
#define DN_CUDA_HALF_FIRST_H

#include "half_end.h"
#include "half_slabs.h"

typedef dn_tile_shape<128, 64, 32, 64, 1> dn_first_64;
typedef dn_tile_shape<128, 32, 32, 32, 1> dn_first_32;

/* Blocks that are launched at most; they take the tiles in turns. */
enum { DN_FIRST_BLOCKS = 2048 };

/* One stage and, behind it, all warps' sums: what a warp stages next does not wait. */
template <class S> static constexpr size_t dn_first_bytes()
{
    return S::STAGE + S::SUMS;
}

/* 32 values of a window: tap, channel, and zeros. */
template <class T>
static __device__ inline void dn_first_window(const dn_half_conv *p, int64_t pixel, T *to)
{
    const dn_window window = dn_window_of(p, pixel);
    const T *in = (const T *)p->in + window.image;
    T values[DN_SLAB];
    DN_UNROLL
    for (int tap = 0; tap < 9; tap++) {
        const int32_t y = window.y + tap / 3 * p->dilation, x = window.x + tap % 3 * p->dilation;
        uint2 raw = {0, 0};
        T found[DN_PIXEL];
        if (window.image >= 0 && (uint32_t)y < (uint32_t)p->h && (uint32_t)x < (uint32_t)p->w)
            raw = *(const uint2 *)(const void *)(in + (int64_t)(y * p->w + x) * DN_PIXEL);
        memcpy(found, &raw, sizeof raw);
        DN_UNROLL
        for (int c = 0; c < 3; c++) values[tap * 3 + c] = found[c];
    }
    DN_UNROLL
    for (int k = 27; k < DN_SLAB; k++) values[k] = dn_narrow<T>(0.0f);
    DN_UNROLL
    for (int piece = 0; piece < DN_PIECES; piece++) {
        uint4 raw;
        memcpy(&raw, values + 8 * piece, sizeof raw);
        *(uint4 *)(void *)(to + 8 * piece) = raw;
    }
}

template <class T, class S>
static __device__ inline void dn_first_filters(const dn_half_conv *p, int32_t first_column, T *to)
{
    for (int i = (int)threadIdx.x; i < S::COLUMNS * DN_PIECES; i += S::THREADS) {
        const int at = i / DN_PIECES, k = i % DN_PIECES * 8;
        uint4 raw = {0, 0, 0, 0};
        if (first_column + at < p->filters && k < p->k)
            raw = *(const uint4 *)(const void *)((const T *)p->weights +
                                                 (int64_t)(first_column + at) * p->k + k);
        *(uint4 *)(void *)(to + at * DN_PITCH + k) = raw;
    }
}

/* Sixteen windows of the warp's: their sums in `own`. */
template <class T, class S>
static __device__ inline void dn_first_multiply(
    const T *windows,
    const nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, 16, 16, 16, T, nvcuda::wmma::col_major>
        filters[2][S::COLUMNS / DN_FRAGMENT],
    float *own)
{
    using namespace nvcuda::wmma;
    fragment<matrix_a, 16, 16, 16, T, row_major> a[2];
    DN_UNROLL
    for (int k = 0; k < 2; k++) load_matrix_sync(a[k], windows + k * DN_FRAGMENT, DN_PITCH);
    DN_UNROLL
    for (int j = 0; j < S::COLUMNS / DN_FRAGMENT; j++) {
        dn_sums sums;
        fill_fragment(sums, 0.0f);
        DN_UNROLL
        for (int k = 0; k < 2; k++) mma_sync(sums, a[k], filters[k][j], sums);
        store_matrix_sync(own + j * DN_FRAGMENT, sums, S::LINE, mem_row_major);
    }
}

/* Grid: blocks that share the tiles of rows, tiles of columns. */
template <class T, class S>
static __global__ void __launch_bounds__(S::THREADS)
    dn_half_first(const __grid_constant__ dn_half_conv conv)
{
    if constexpr (DN_HAS_TENSOR(T)) {
        using namespace nvcuda::wmma;
        DN_DYNAMIC_SHARED(shared);
        const dn_half_conv *p = &conv;
        const int warp = (int)threadIdx.x / DN_WARP, lane = (int)threadIdx.x % DN_WARP;
        const int64_t tiles = ((int64_t)p->images * p->out_h * p->out_w + S::ROWS - 1) / S::ROWS;
        const int32_t first_column = (int32_t)blockIdx.y * S::COLUMNS;
        T *windows = (T *)(void *)shared + warp * S::WARP_ROWS * DN_PITCH;
        T *columns = (T *)(void *)shared + S::ROWS * DN_PITCH;
        float *own = (float *)(void *)(shared + S::STAGE) + warp * DN_FRAGMENT * S::LINE;
        fragment<matrix_b, 16, 16, 16, T, col_major> filters[2][S::COLUMNS / DN_FRAGMENT];
        dn_first_filters<T, S>(p, first_column, columns);
        __syncthreads();
        DN_UNROLL
        for (int k = 0; k < 2; k++) DN_UNROLL
        for (int j = 0; j < S::COLUMNS / DN_FRAGMENT; j++)
            load_matrix_sync(filters[k][j], columns + j * DN_FRAGMENT * DN_PITCH + k * DN_FRAGMENT,
                             DN_PITCH);
        dn_await_and_release();
        for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            const int64_t row = tile * S::ROWS + warp * S::WARP_ROWS;
            for (int r = lane; r < S::WARP_ROWS; r += DN_WARP)
                dn_first_window(p, row + r, windows + r * DN_PITCH);
            __syncwarp();
            for (int r = 0; r < S::WARP_ROWS; r += DN_FRAGMENT) {
                dn_first_multiply<T, S>(windows + r * DN_PITCH, filters, own);
                __syncwarp();
                dn_end_rows<T, S>(p, own, row + r, first_column, 0);
                __syncwarp();
            }
        }
    }
}

template <class T, class S>
static dn_status dn_half_first_launch(const dn_half_conv *conv, int32_t, const dn_half_workspace *)
{
    const int64_t pixels = (int64_t)conv->images * conv->out_h * conv->out_w;
    const int64_t tiles = (pixels + S::ROWS - 1) / S::ROWS;
    const dim3 grid((unsigned)(tiles < DN_FIRST_BLOCKS ? tiles : (int64_t)DN_FIRST_BLOCKS),
                    (unsigned)((conv->filters + S::COLUMNS - 1) / S::COLUMNS));
    DN_FOLLOW_TILES((dn_half_first<T, S>), grid, S::THREADS, dn_first_bytes<S>(), *conv);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

#define DN_FIRST(T, name, shape)                                                                   \
    {name,                                                                                         \
     shape::ROWS,                                                                                  \
     shape::COLUMNS,                                                                               \
     shape::WARPS,                                                                                 \
     dn_first_bytes<shape>(),                                                                      \
     dn_half_first_launch<T, shape>}

#endif
