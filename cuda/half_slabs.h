/* How a tile of half_tile.h gets the slabs of its two factors: which pieces of 16
 * bytes a thread copies, and where in the input and the weights they lie. */
#ifndef DN_CUDA_HALF_SLABS_H
#define DN_CUDA_HALF_SLABS_H

#include "half_shape.h"

#include <cuda_pipeline.h>

/* 16 bytes into shared memory, or as many zeros and `from` is not read, wherever it points;
 * committed and waited for as cuda_pipeline.h says, whose own call branches where zeros are asked.
 */
static __device__ inline void dn_copy_piece(void *to, const void *from, bool there)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    const unsigned place = (unsigned)__cvta_generic_to_shared(to), bytes = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(from), "r"(bytes)
                 : "memory");
#else
    __pipeline_memcpy_async(to, from, 16, there ? 0 : 16);
#endif
}

/* Where a thread is in the sum: the piece's tap and its first channel. Slabs go through the sum as
 * its values lie, tap after tap. */
typedef struct dn_tap {
    int32_t c, x, y;
} dn_tap;

/* Piece `piece` of a slab. */
template <class S>
static __device__ inline dn_tap dn_tap_at(const dn_half_conv *p, int32_t slab, int32_t piece)
{
    const int32_t pieces = p->c / 8, number = slab * S::PIECES + piece, tap = number / pieces;
    dn_tap at;
    at.c = (number - tap * pieces) * 8;
    at.y = tap / p->size;
    at.x = tap - at.y * p->size;
    return at;
}

/* One slab on. */
template <class S> static __device__ inline void dn_tap_advance(const dn_half_conv *p, dn_tap *at)
{
    at->c += S::SLAB;
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

/* Rows that lie beyond every input, however a tap moves them, and taps that move every row there.
 */
enum { DN_NO_ROW = -(1 << 30), DN_NO_TAP = 1 << 29 };

/* Copies the slabs of both factors, each factor's one after the other. S says how long a slab is
 * and where its pieces lie; S::THREADS of these, one a thread, copy a slab together. */
template <class T, class S, bool PIXELS> struct dn_slab_copier {
    static const int STEP = S::THREADS / S::PIECES; /* rows from a piece to the next */

    const dn_half_conv *p;
    int32_t group, first_column;
    dn_tap tap;                           /* of the rows' next slab */
    int32_t k_of_rows, k_of_columns;      /* of the next piece, in the sum */
    dn_window windows[S::PIECES_OF_ROWS]; /* but for PIXELS `image` is where the first tap lies */

    __device__ dn_slab_copier(const dn_half_conv *conv, int64_t first_row, int32_t group_,
                              int32_t column, int32_t slab)
        : p(conv), group(group_), first_column(column), tap()
    {
        k_of_rows = k_of_columns = slab * S::SLAB + piece() * 8;
        if (!PIXELS) tap = dn_tap_at<S>(p, slab, piece());
        DN_UNROLL
        for (int i = 0; i < S::PIECES_OF_ROWS; i++) {
            dn_window window = dn_window_of(p, first_row + row_of(i));
            if (!PIXELS) {
                if (window.image < 0) window = {DN_NO_ROW, 0, 0};
                window.image += ((int64_t)window.y * p->w + window.x) * p->in_pixel;
            }
            windows[i] = window;
        }
    }

    __device__ int piece() const
    {
        return (int)threadIdx.x % S::PIECES;
    }

    __device__ int row_of(int i) const
    {
        return (int)threadIdx.x / S::PIECES + i * STEP;
    }

    /* Where piece i goes; eight rows on, pieces lie in the same order. */
    __device__ int place_of(int i) const
    {
        if (STEP % 8 != 0) return S::place(row_of(i), piece());
        return S::place(row_of(0), piece()) + i * S::place(STEP, 0);
    }

    /* The rows' next slab into a stage. */
    __device__ void rows(T *to)
    {
        const T *in = (const T *)p->in;
        const int32_t down = tap.y < p->size ? tap.y * p->dilation : (int32_t)DN_NO_TAP;
        const int32_t right = tap.x * p->dilation;
        const int64_t moved =
            ((int64_t)down * p->w + right) * p->in_pixel + (int64_t)group * p->c + tap.c;
        DN_UNROLL
        for (int i = 0; i < S::PIECES_OF_ROWS; i++) {
            if (PIXELS) {
                dn_pixel_piece(p, windows[i], k_of_rows, to + place_of(i));
                continue;
            }
            const bool there = (uint32_t)(windows[i].y + down) < (uint32_t)p->h &&
                               (uint32_t)(windows[i].x + right) < (uint32_t)p->w;
            dn_copy_piece(to + place_of(i), in + (windows[i].image + moved), there);
        }
        k_of_rows += S::SLAB;
        if (!PIXELS) dn_tap_advance<S>(p, &tap);
    }

    /* The columns' next slab into a stage. */
    __device__ void columns(T *to)
    {
        const int64_t filter = (int64_t)group * p->filters + first_column + row_of(0);
        const T *from = (const T *)p->weights + filter * p->k + k_of_columns;
        const int32_t left = k_of_columns < p->k ? p->filters - first_column : 0;
        to += S::place(S::ROWS, 0);
        DN_UNROLL
        for (int i = 0; i < S::PIECES_OF_COLUMNS; i++) {
            const int row = row_of(i);
            if (S::COLUMNS % STEP != 0 && row >= S::COLUMNS) break;
            dn_copy_piece(to + place_of(i), from + (int64_t)i * STEP * p->k, row < left);
        }
        k_of_columns += S::SLAB;
    }

    /* The next slab of both into a stage. */
    __device__ void copy(T *stage)
    {
        rows(stage);
        columns(stage);
    }

    /* The first `stages` slabs, of `slabs` that there are: the weights come while others still
     * make the input. */
    __device__ void begin(T *stage, int32_t stages, int32_t slabs)
    {
        const int values = S::place(S::ROWS + S::COLUMNS, 0);
        for (int32_t s = 0; s < stages && s < slabs; s++) columns(stage + s * values);
        dn_await_and_release();
        for (int32_t s = 0; s < stages; s++) {
            if (s < slabs) rows(stage + s * values);
            __pipeline_commit();
        }
    }
};

#endif
