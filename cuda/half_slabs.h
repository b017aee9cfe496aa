/* How a tile of half_tile.h gets the slabs of its two factors: which pieces of 16 bytes a thread
 * copies, and where in the input and the weights they lie. */
#ifndef DN_CUDA_HALF_SLABS_H
#define DN_CUDA_HALF_SLABS_H

#include "half_shape.h"

#include <cuda_pipeline.h>

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

static __device__ inline dn_window dn_window_of(const dn_half_conv *p, int64_t pixel)
{
    const int32_t plane = p->out_h * p->out_w;
    dn_window window = {0, 0, -1};
    if (pixel >= (int64_t)p->images * plane) return window;
    const int32_t image = (int32_t)((uint32_t)pixel / (uint32_t)plane);
    const int32_t rest = (int32_t)pixel - image * plane, y = rest / p->out_w;
    window.y = y * p->stride_y - p->pad;
    window.x = (rest - y * p->out_w) * p->stride_x - p->pad;
    window.image = image * p->in_image;
    return window;
}

/* Eight values of a window of pixels, in the order tap, channel. */
template <class T>
static __device__ inline void dn_pixel_piece(const dn_half_conv *p, dn_window window, int32_t k,
                                             T *to)
{
    const T *in = (const T *)p->in;
    uint4 raw;
    T values[8];
    DN_UNROLL
    for (int32_t e = 0; e < 8; e++) {
        const int32_t tap = (k + e) / p->c, c = k + e - tap * p->c, row = tap / p->size;
        const int32_t y = window.y + row * p->dilation;
        const int32_t x = window.x + (tap - row * p->size) * p->dilation;
        const bool there = window.image >= 0 && row < p->size && (uint32_t)y < (uint32_t)p->h &&
                           (uint32_t)x < (uint32_t)p->w;
        values[e] =
            there ? in[window.image + (int64_t)(y * p->w + x) * DN_PIXEL + c] : dn_narrow<T>(0.0f);
    }
    memcpy(&raw, values, sizeof raw);
    *(uint4 *)(void *)to = raw;
}

/* Copies the slabs of both factors, one after the other. */
template <class T, class S, bool PIXELS> struct dn_slab_copier {
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
        k = slab * DN_SLAB + piece * 8;
        if (!PIXELS) tap = dn_tap_at(p, k / 8);
        DN_UNROLL
        for (int i = 0; i < S::PIECES_OF_ROWS; i++)
            windows[i] = dn_window_of(p, first_row + row_of(i));
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
            if (PIXELS) {
                dn_pixel_piece(p, windows[i], k, piece);
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

    /* Of the slab `ahead` slabs on. */
    __device__ void columns(T *to, int32_t ahead) const
    {
        const int32_t from_k = k + ahead * DN_SLAB;
        const T *weights = (const T *)p->weights + (int64_t)group * p->filters * p->k;
        DN_UNROLL
        for (int i = 0; i < S::PIECES_OF_COLUMNS; i++) {
            const int at = row_of(i), filter = first_column + at;
            if (at >= S::COLUMNS) break;
            const bool there = filter < p->filters && from_k < p->k;
            const T *from = there ? weights + (int64_t)filter * p->k + from_k : weights;
            dn_copy_piece(to + at * DN_PITCH + (int)threadIdx.x % DN_PIECES * 8, from, there);
        }
    }

    __device__ void advance()
    {
        k += DN_SLAB;
        if (!PIXELS) dn_tap_advance(p, &tap);
    }

    /* The next slab into a stage. */
    __device__ void copy(T *stage)
    {
        rows(stage);
        columns(stage + S::ROWS * DN_PITCH, 0);
        advance();
    }

    /* The first `stages` slabs, of `slabs` that there are: the weights come while others still
     * make the input. */
    __device__ void begin(T *stage, int32_t stages, int32_t slabs)
    {
        const int32_t values = (int32_t)(S::STAGE / sizeof(T));
        for (int32_t s = 0; s < stages && s < slabs; s++)
            columns(stage + s * values + S::ROWS * DN_PITCH, s);
        dn_await_and_release();
        for (int32_t s = 0; s < stages; s++) {
            if (s < slabs) {
                rows(stage + s * values);
                advance();
            }
            __pipeline_commit();
        }
    }
};

#endif
