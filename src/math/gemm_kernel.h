/* What one instruction set brings to the matrix product and the convolution: a register tile and
 * the functions that pack its operands. Internal to src/math.
 *
 * Every element of C is summed in the same way whatever the size of its tile: from zero, over
 * ascending k, one rounding (fused) or two (plain) a step. Cutting the work differently for another
 * number of threads therefore changes no bit.
 */
#ifndef DN_MATH_GEMM_KERNEL_H
#define DN_MATH_GEMM_KERNEL_H

#include "math/cpu.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The activations that a tile applies before it is stored; others follow once it is complete. */
typedef enum dn_tile_activation {
    DN_TILE_LINEAR = 0,
    DN_TILE_LEAKY, /* x > 0 ? x : slope * x */
    DN_TILE_RELU
} dn_tile_activation;

static inline float dn_activate_plain(float x, dn_tile_activation kind, float slope)
{
    switch (kind) {
    case DN_TILE_LINEAR:
        return x;
    case DN_TILE_LEAKY:
        return x > 0.0f ? x : slope * x;
    case DN_TILE_RELU:
        return x > 0.0f ? x : 0.0f;
    }
    return x;
}

typedef struct dn_gemm_tile {
    int32_t rows, columns; /* from 1 to the kernel's rows and columns */
    int32_t k;             /* may be 0 */
    const float *a;        /* (k, rows), packed */
    const float *b;        /* (k, columns rounded up to whole vectors), packed */
    const float *ahead;    /* asked for from memory meanwhile: one value in `ahead_step` a step */
    int32_t ahead_step;
    float alpha, beta;
    float *c; /* (rows, columns), rows ldc apart: alpha * a^T b + beta * c, then the epilogue */
    ptrdiff_t ldc;
    bool finish;        /* the epilogue: c = activation(scale * c + shift) */
    const float *scale; /* (rows), NULL: ones */
    const float *shift; /* (rows), NULL: zeros */
    dn_tile_activation activation;
    float slope;
} dn_gemm_tile;

/* A matrix of values that lie in a window of an image, which holds its padding as zeros: row
 * (i, j, k) of counts[0] * counts[1] * counts[2], k fastest, starts at i * strides[0] +
 * j * strides[1] + k * strides[2]; column l lies offsets[l] further on. In the column matrix of a
 * convolution rows are taps and columns pixels; in its transpose it is the other way round. */
typedef struct dn_pack_window {
    const float *window; /* readable for DN_PACK_SLACK floats beyond the last value used */
    int32_t counts[3];
    ptrdiff_t strides[3];
    int32_t columns;        /* from 1 to the kernel's columns */
    const int32_t *offsets; /* (the kernel's columns), ascending; surplus ones repeat the last */
} dn_pack_window;

enum { DN_PACK_SLACK = 64, DN_TILE_MAX_ROWS = 16, DN_TILE_MAX_COLUMNS = 64 };

/* A product whose left operand lies in such a window: c[i * pitch + j] is the sum over y <
 * counts[0] and x < counts[1] of window[offsets[i] + y * strides[0] + x * strides[1]] times b[(y *
 * counts[1] + x) * pitch + j], added to what c holds where `add` is set. */
typedef struct dn_window_tile {
    int32_t rows;  /* from 1 to the kernel's window_rows */
    int32_t pitch; /* whole vectors, at most the kernel's columns */
    int32_t counts[2];
    ptrdiff_t strides[2];
    const float *window;
    const ptrdiff_t *offsets; /* (rows) */
    const float *b;           /* (counts[0] * counts[1], pitch) */
    float *c;                 /* (rows, pitch) */
    bool add;
} dn_window_tile;

typedef struct dn_gemm_kernel {
    int32_t rows, columns; /* largest tile */
    int32_t lanes;         /* floats of a vector; columns is a multiple of it */
    int32_t window_rows;   /* of the largest window tile */

    void (*tile)(const dn_gemm_tile *tile);
    void (*window_tile)(const dn_window_tile *tile);

    /* out[p * pitch + i] = in[p * ld + i] for p < k, i < width; 0 for i from width to pitch. */
    void (*pack_copy)(const float *in, ptrdiff_t ld, int32_t k, int32_t width, int32_t pitch,
                      float *out);
    /* out[p * pitch + i] = in[i * ld + p] for p < k, i < width; 0 for i from width to pitch. */
    void (*pack_transpose)(const float *in, ptrdiff_t ld, int32_t k, int32_t width, int32_t pitch,
                           float *out);
    /* One panel of a window's matrix: out (its rows, columns rounded up to whole vectors). */
    void (*pack_window)(const dn_pack_window *window, float *out);
} dn_gemm_kernel;

/* A is packed in panels of rows whose heights differ by 1 at most: panel `index` of `panels` begins
 * at this row, and its floats at this row times k. */
static inline int32_t dn_panel_begin(int32_t rows, int32_t panels, int32_t index)
{
    return (int32_t)((int64_t)rows * index / panels);
}

/* Panels first..last-1 of A (panel_rows rows in all, cut into `panels`) times all of B's panels.
 * `block` is a tile of any number of columns; its rows are not looked at, and its a, c, scale and
 * shift belong to panel 0. */
void dn_gemm_run_block(const dn_gemm_kernel *kernel, const dn_gemm_tile *block, int32_t panel_rows,
                       int32_t panels, int32_t first, int32_t last);

/* The kernel of the instruction set in use. */
const dn_gemm_kernel *dn_gemm_kernel_in_use(void);

extern const dn_gemm_kernel dn_gemm_kernel_plain;
extern const dn_gemm_kernel dn_gemm_kernel_avx2;
extern const dn_gemm_kernel dn_gemm_kernel_avx512;

#endif
