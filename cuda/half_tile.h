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
 *
 * DN_WARP threads work on a fragment together; where kernels run on the CPU (tests/host_cuda) it is
 * one.
 */
#ifndef DN_CUDA_HALF_TILE_H
#define DN_CUDA_HALF_TILE_H

#include "half.h"
#include "half_conv.h"

#include <cuda_pipeline.h>
#include <mma.h>

#ifndef DN_WARP
#define DN_WARP 32
#endif

/* SLAB values of the sum at a time, in rows of PITCH, whose start moves through the banks. */
enum { DN_SLAB = 32, DN_PITCH = DN_SLAB + 8, DN_PIECES = DN_SLAB / 8, DN_FRAGMENT = 16 };

/* What was compiled for bfloat16 on GPUs before 8.0 has no such tensor cores: never launched. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define DN_HAS_TENSOR(T) (sizeof(T) == 2 && dn_is_half<T>::value)
#else
#define DN_HAS_TENSOR(T) true
#endif
template <class T> struct dn_is_half {
    static const bool value = false;
};
template <> struct dn_is_half<__half> {
    static const bool value = true;
};

template <int ROWS_, int COLUMNS_, int WARP_ROWS_, int WARP_COLUMNS_, int STAGES_>
struct dn_tile_shape {
    static const int ROWS = ROWS_, COLUMNS = COLUMNS_, STAGES = STAGES_;
    static const int WARP_ROWS = WARP_ROWS_, WARP_COLUMNS = WARP_COLUMNS_; /* of one warp */
    static const int ACROSS = COLUMNS / WARP_COLUMNS;
    static const int WARPS = ROWS / WARP_ROWS * ACROSS, THREADS = WARPS * DN_WARP;
    static const int LINE = WARP_COLUMNS + 4; /* of sums in shared memory */
    static const size_t STAGE = (size_t)(ROWS + COLUMNS) * DN_PITCH * 2;
    static const size_t SUMS = (size_t)WARPS * DN_FRAGMENT * LINE * sizeof(float);
    static const size_t BYTES = STAGES * STAGE > SUMS ? STAGES * STAGE : SUMS;
    static const int PIECES_OF_ROWS = ROWS * DN_PIECES / THREADS; /* of one thread, in a slab */
    static const int PIECES_OF_COLUMNS = (COLUMNS * DN_PIECES + THREADS - 1) / THREADS;
    static_assert(THREADS % DN_PIECES == 0, "a thread stays in its column of pieces");
    static_assert(ROWS * DN_PIECES % THREADS == 0, "all threads copy as many pieces");
    static_assert(WARP_COLUMNS % DN_FRAGMENT == 0 && WARP_ROWS % DN_FRAGMENT == 0, "fragments");
};

/* 16 bytes into shared memory, or as many zeros; committed and waited for as cuda_pipeline.h says,
 * whose own call branches where zeros are asked. */
static __device__ inline void dn_copy_piece(void *to, const void *from, bool there)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     (unsigned)__cvta_generic_to_shared(to)),
                 "l"(from), "r"(there ? 16 : 0)
                 : "memory");
#else
    __pipeline_memcpy_async(to, from, 16, there ? 0 : 16);
#endif
}

/* Where a thread is in the sum: the piece's tap and its first channel. */
typedef struct dn_tap {
    int32_t c, x, y;
} dn_tap;

static __device__ inline dn_tap dn_tap_at(const dn_half_conv *p, int32_t piece)
{
    const int32_t pieces = p->c / 8, tap = piece / pieces;
    dn_tap at;
    at.c = (piece - tap * pieces) * 8;
    at.y = tap / p->size;
    at.x = tap - at.y * p->size;
    return at;
}

/* One slab on. */
static __device__ inline void dn_tap_advance(const dn_half_conv *p, dn_tap *at)
{
    at->c += DN_SLAB;
    while (at->c >= p->c) {
        at->c -= p->c;
        if (++at->x < p->size) continue;
        at->x = 0;
        at->y++;
    }
}

/* The window of an output pixel in the input: its first row and column, and its image. */
typedef struct dn_window {
    int32_t y, x;
    int64_t image; /* in values; -1: no such pixel */
} dn_window;

static __device__ inline dn_window dn_window_of(const dn_half_conv *p, int64_t pixel,
                                                int64_t image_values)
{
    const int32_t plane = p->out_h * p->out_w;
    dn_window window = {0, 0, -1};
    if (pixel >= (int64_t)p->images * plane) return window;
    const int32_t image = (int32_t)((uint32_t)pixel / (uint32_t)plane);
    const int32_t rest = (int32_t)pixel - image * plane, y = rest / p->out_w;
    window.y = y * p->stride_y - p->pad;
    window.x = (rest - y * p->out_w) * p->stride_x - p->pad;
    window.image = image * image_values;
    return window;
}

/* Eight values of a window from a planar float input, in the order tap, channel. */
template <class T>
static __device__ inline void dn_planar_piece(const dn_half_conv *p, dn_window window, int32_t k,
                                              T *to)
{
    const float *in = (const float *)p->in;
    float values[8];
    DN_UNROLL
    for (int32_t e = 0; e < 8; e++) {
        const int32_t tap = (k + e) / p->c, c = k + e - tap * p->c, row = tap / p->size;
        const int32_t y = window.y + row * p->dilation;
        const int32_t x = window.x + (tap - row * p->size) * p->dilation;
        const bool there = window.image >= 0 && row < p->size && (uint32_t)y < (uint32_t)p->h &&
                           (uint32_t)x < (uint32_t)p->w;
        values[e] = there ? in[window.image + ((int64_t)c * p->h + y) * p->w + x] : 0.0f;
    }
    dn_store_eight(values, to);
}

/* Copies the slabs of both factors, one after the other. */
template <class T, class S, bool PLANAR> struct dn_slab_copier {
    const dn_half_conv *p;
    dn_tap tap;
    int32_t k; /* of the piece, in the sum */
    int32_t group, first_column;
    dn_window windows[S::PIECES_OF_ROWS];

    __device__ dn_slab_copier(const dn_half_conv *conv, int64_t first_row, int32_t group_,
                              int32_t column, int32_t slab)
        : p(conv), tap(), group(group_), first_column(column)
    {
        const int32_t piece = (int32_t)threadIdx.x % DN_PIECES;
        const int64_t image =
            PLANAR ? (int64_t)p->c * p->h * p->w : (int64_t)p->h * p->w * p->in_pixel;
        k = slab * DN_SLAB + piece * 8;
        if (!PLANAR) tap = dn_tap_at(p, k / 8);
        DN_UNROLL
        for (int i = 0; i < S::PIECES_OF_ROWS; i++)
            windows[i] = dn_window_of(p, first_row + row_of(i), image);
    }

    static __device__ int row_of(int i)
    {
        return ((int)threadIdx.x + i * S::THREADS) / DN_PIECES;
    }

    __device__ void rows(T *to) const
    {
        const T *in = (const T *)p->in + (int64_t)group * p->c + tap.c;
        const int32_t down = tap.y * p->dilation, right = tap.x * p->dilation;
        DN_UNROLL
        for (int i = 0; i < S::PIECES_OF_ROWS; i++) {
            T *piece = to + row_of(i) * DN_PITCH + (int)threadIdx.x % DN_PIECES * 8;
            if (PLANAR) {
                dn_planar_piece(p, windows[i], k, piece);
                continue;
            }
            const int32_t y = windows[i].y + down, x = windows[i].x + right;
            const bool there = windows[i].image >= 0 && tap.y < p->size &&
                               (uint32_t)y < (uint32_t)p->h && (uint32_t)x < (uint32_t)p->w;
            const T *from =
                there ? in + windows[i].image + (int64_t)(y * p->w + x) * p->in_pixel : in - tap.c;
            dn_copy_piece(piece, from, there);
        }
    }

    __device__ void columns(T *to) const
    {
        const T *weights = (const T *)p->weights + (int64_t)group * p->filters * p->k;
        DN_UNROLL
        for (int i = 0; i < S::PIECES_OF_COLUMNS; i++) {
            const int at = row_of(i), filter = first_column + at;
            if (at >= S::COLUMNS) break;
            const bool there = filter < p->filters && k < p->k;
            const T *from = there ? weights + (int64_t)filter * p->k + k : weights;
            dn_copy_piece(to + at * DN_PITCH + (int)threadIdx.x % DN_PIECES * 8, from, there);
        }
    }

    /* The next slab into a stage. */
    __device__ void copy(T *stage)
    {
        rows(stage);
        columns(stage + S::ROWS * DN_PITCH);
        k += DN_SLAB;
        if (!PLANAR) dn_tap_advance(p, &tap);
    }
};

typedef nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float> dn_sums;

/* A warp's sums. */
template <class S> struct dn_warp_sums {
    static const int DOWN = S::WARP_ROWS / DN_FRAGMENT, RIGHT = S::WARP_COLUMNS / DN_FRAGMENT;
    dn_sums of[DOWN][RIGHT];
};

/* The warp's first row and column in the tile. */
template <class S> static __device__ inline int dn_warp_row()
{
    return (int)threadIdx.x / DN_WARP / S::ACROSS * S::WARP_ROWS;
}

template <class S> static __device__ inline int dn_warp_column()
{
    return (int)threadIdx.x / DN_WARP % S::ACROSS * S::WARP_COLUMNS;
}

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

/* ---- The end of a tile ---- */

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

/* ---- The kernel ---- */

/* sums = the block's part of the sum. */
template <class T, class S, bool PLANAR>
static __device__ inline void dn_multiply(const dn_half_conv *p, T *stages, int64_t first_row,
                                          int32_t first_column, int32_t group,
                                          dn_warp_sums<S> *sums)
{
    const int32_t slabs = (p->k + DN_SLAB - 1) / DN_SLAB;
    const int32_t share = (slabs + (int32_t)gridDim.z - 1) / (int32_t)gridDim.z;
    const int32_t begin = (int32_t)blockIdx.z * share;
    const int32_t end = begin + share < slabs ? begin + share : slabs;
    const int stage_values = (int)(S::STAGE / sizeof(T));
    dn_slab_copier<T, S, PLANAR> copier(p, first_row, group, first_column, begin);
    DN_UNROLL
    for (int i = 0; i < dn_warp_sums<S>::DOWN; i++) DN_UNROLL
    for (int j = 0; j < dn_warp_sums<S>::RIGHT; j++)
        nvcuda::wmma::fill_fragment(sums->of[i][j], 0.0f);
    for (int s = 0; s < S::STAGES - 1; s++) {
        if (begin + s < end) copier.copy(stages + s * stage_values);
        __pipeline_commit();
    }
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
template <class T, class S, bool PLANAR>
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
        dn_multiply<T, S, PLANAR>(&conv, (T *)(void *)shared, first_row, first_column, group,
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

template <class T, class S, bool PLANAR>
static dn_status dn_half_launch(const dn_half_conv *conv, int32_t splits,
                                const dn_half_workspace *workspace)
{
    const int64_t pixels = (int64_t)conv->images * conv->out_h * conv->out_w;
    const int32_t across = (conv->filters + S::COLUMNS - 1) / S::COLUMNS;
    const dim3 grid((unsigned)((pixels + S::ROWS - 1) / S::ROWS), (unsigned)(across * conv->groups),
                    (unsigned)splits);
    if (S::BYTES > 48 << 10)
        DN_CUDA_TRY(cudaFuncSetAttribute((const void *)dn_half_multiply<T, S, PLANAR>,
                                         cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         (int)S::BYTES));
    DN_LAUNCH_TILES((dn_half_multiply<T, S, PLANAR>), grid, S::THREADS, S::BYTES, *conv,
                    *workspace);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

#define DN_TILE(T, planar, name, shape)                                                            \
    {name,         shape::ROWS,  shape::COLUMNS,                                                   \
     shape::WARPS, shape::BYTES, dn_half_launch<T, shape, planar>}

typedef dn_tile_shape<128, 128, 64, 32, 4> dn_tile_128_128;
typedef dn_tile_shape<128, 64, 64, 32, 4> dn_tile_128_64;
typedef dn_tile_shape<64, 128, 32, 64, 4> dn_tile_64_128;
typedef dn_tile_shape<64, 64, 32, 32, 4> dn_tile_64_64;
typedef dn_tile_shape<128, 32, 32, 32, 4> dn_tile_128_32;
typedef dn_tile_shape<32, 64, 16, 32, 4> dn_tile_32_64;

/* Both lists of a type. */
#define DN_HALF_TILES(T, type)                                                                     \
    static const dn_half_tile tiles_##type[] =                                                     \
        {                                                                                          \
            DN_TILE(T, false, "128x128", dn_tile_128_128),                                         \
            DN_TILE(T, false, "128x64", dn_tile_128_64),                                           \
            DN_TILE(T, false, "64x128", dn_tile_64_128),                                           \
            DN_TILE(T, false, "64x64", dn_tile_64_64),                                             \
            DN_TILE(T, false, "128x32", dn_tile_128_32),                                           \
            DN_TILE(T, false, "32x64", dn_tile_32_64),                                             \
    };                                                                                             \
    static const dn_half_tile first_##type[] = {                                                   \
        DN_TILE(T, true, "128x64", dn_tile_128_64),                                                \
        DN_TILE(T, true, "128x32", dn_tile_128_32),                                                \
    };                                                                                             \
    const dn_half_tiles dn_half_tiles_##type = {6, tiles_##type};                                  \
    const dn_half_tiles dn_half_first_##type = {2, first_##type};

#endif
