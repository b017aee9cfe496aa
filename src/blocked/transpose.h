/* Square transposes in registers: blocks of channels to planes. Only for src/blocked. */
#ifndef DN_BLOCKED_TRANSPOSE_H
#define DN_BLOCKED_TRANSPOSE_H

#include "blocked/vector.h"

#if defined(__clang__)
#define DN_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t dn_vec_places __attribute__((vector_size(4 * DN_LANES)));
#define DN_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (dn_vec_places){__VA_ARGS__})
#endif

/* The first halves of two vectors, lane by lane in turns, and the second ones. */
#if defined(__AVX512F__) || defined(DN_WIDE)
#define DN_ZIP_LOW(a, b) DN_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define DN_ZIP_HIGH(a, b)                                                                          \
    DN_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif defined(__AVX2__)
#define DN_ZIP_LOW(a, b)  DN_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define DN_ZIP_HIGH(a, b) DN_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define DN_ZIP_LOW(a, b)  DN_SHUFFLE(a, b, 0, 4, 1, 5)
#define DN_ZIP_HIGH(a, b) DN_SHUFFLE(a, b, 2, 6, 3, 7)
#endif

/* Rows become columns: zipping the halves of the list turns the bits of (row, lane) by one place,
 * so that as many rounds as a lane's number has bits exchange the two. */
DN_INLINE void dn_transpose(dn_vec rows[DN_LANES])
{
#pragma GCC unroll 4
    for (int round = 1; round < DN_LANES; round *= 2) {
        dn_vec zipped[DN_LANES];
#pragma GCC unroll 8
        for (int i = 0; i < DN_LANES / 2; ++i) {
            zipped[2 * i] = DN_ZIP_LOW(rows[i], rows[i + DN_LANES / 2]);
            zipped[2 * i + 1] = DN_ZIP_HIGH(rows[i], rows[i + DN_LANES / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < DN_LANES; ++i) rows[i] = zipped[i];
    }
}

/* `pixels` of one block of channels, of which `channels` count, into planes. */
static inline void dn_block_to_planes(const float *block, int64_t pixels, int32_t channels,
                                      int64_t plane, float *out)
{
    int64_t x = 0;
    for (; x + DN_LANES <= pixels; x += DN_LANES) {
        dn_vec rows[DN_LANES];
#pragma GCC unroll 16
        for (int i = 0; i < DN_LANES; ++i) rows[i] = dn_vec_load(block + (x + i) * DN_LANES);
        dn_transpose(rows);
#pragma GCC unroll 16
        for (int i = 0; i < DN_LANES; ++i)
            if (i < channels) dn_vec_store(out + i * plane + x, rows[i]);
    }
    for (int32_t lane = 0; lane < channels && lane < DN_LANES; ++lane)
        for (int64_t i = x; i < pixels; ++i) out[lane * plane + i] = block[i * DN_LANES + lane];
}

#endif
