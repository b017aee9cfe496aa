/* Shapes of the tiles of half_tile.h, and a warp's sums in fragments of the tensor cores.
 *
 * DN_WARP threads work on a fragment together; where kernels run on the CPU (tests/host_cuda) it is
 * one.
 */
#ifndef DN_CUDA_HALF_SHAPE_H
#define DN_CUDA_HALF_SHAPE_H

#include "half.h"
#include "half_conv.h"

#include <mma.h>

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
    static const size_t SUMS = (size_t)WARPS * WARP_ROWS * LINE * sizeof(float);
    static const size_t BYTES = STAGES * STAGE > SUMS ? STAGES * STAGE : SUMS;
    static const int SLAB = DN_SLAB, PIECES = DN_PIECES;
    static const int PIECES_OF_ROWS = ROWS * DN_PIECES / THREADS; /* of one thread, in a slab */
    static const int PIECES_OF_COLUMNS = (COLUMNS * DN_PIECES + THREADS - 1) / THREADS;

    /* Where a piece of a row of the stage lies, in values. */
    static __device__ int place(int row, int piece)
    {
        return row * DN_PITCH + piece * 8;
    }

    static_assert(THREADS % DN_PIECES == 0, "a thread stays in its column of pieces");
    static_assert(ROWS * DN_PIECES % THREADS == 0, "all threads copy as many pieces");
    static_assert(WARP_COLUMNS % DN_FRAGMENT == 0 && WARP_ROWS % DN_FRAGMENT == 0, "fragments");
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

#endif
