/* Winograd's transforms, one lane a channel: see winograd.h.
 *
 * For points 0 (or not), +-p1 .. +-pn and infinity, with P = p^2:
 *   input row of infinity: the polynomial of all finite points;
 *   of 0:   the polynomial of all pairs, (x^2 - P1) ... (x^2 - Pn);
 *   of +-p: (x +- p) times the polynomial of the other pairs (times x, where 0 is a point);
 *   output y^j: sum of p^j over the points; infinity adds to the last one;
 *   weights: (1, p, p^2) over the product of p's differences to the other finite points.
 */
#include "blocked/epilogue.h"
#include "blocked/winograd.h"

enum { MOST_PAIRS = 4 };

typedef struct points {
    float pair[MOST_PAIRS];
    float all[MOST_PAIRS + 1];            /* coefficients of 1, x^2, x^4 ... of all pairs */
    float others[MOST_PAIRS][MOST_PAIRS]; /* of the pairs but this one */
} points;

#define SQ(a) ((a) * (a))
/* Coefficients from the squares of the pairs' points. */
/* clang-format off */
#define ALL1(A) -(A), 1
#define ALL2(A, B) (A) * (B), -((A) + (B)), 1
#define ALL3(A, B, C) -(A) * (B) * (C), (A) * (B) + (A) * (C) + (B) * (C), -((A) + (B) + (C)), 1
#define ALL4(A, B, C, D) (A) * (B) * (C) * (D), \
    -((A) * (B) * (C) + (A) * (B) * (D) + (A) * (C) * (D) + (B) * (C) * (D)), \
    (A) * (B) + (A) * (C) + (A) * (D) + (B) * (C) + (B) * (D) + (C) * (D), -((A) + (B) + (C) + (D)), 1
#define POINTS1(a) {{a}, {ALL1(SQ(a))}, {{1}}}
#define POINTS2(a, b) {{a, b}, {ALL2(SQ(a), SQ(b))}, {{ALL1(SQ(b))}, {ALL1(SQ(a))}}}
#define POINTS3(a, b, c) {{a, b, c}, {ALL3(SQ(a), SQ(b), SQ(c))}, \
    {{ALL2(SQ(b), SQ(c))}, {ALL2(SQ(a), SQ(c))}, {ALL2(SQ(a), SQ(b))}}}
#define POINTS4(a, b, c, d) {{a, b, c, d}, {ALL4(SQ(a), SQ(b), SQ(c), SQ(d))}, \
    {{ALL3(SQ(b), SQ(c), SQ(d))}, {ALL3(SQ(a), SQ(c), SQ(d))}, \
     {ALL3(SQ(a), SQ(b), SQ(d))}, {ALL3(SQ(a), SQ(b), SQ(c))}}}
/* clang-format on */

/* sum of factor[i] * x[2 i], where the last factor is 1 */
DN_INLINE dn_vec polynomial(const float *factor, const dn_vec *x, const int degree)
{
    dn_vec sum = x[2 * degree];
#pragma GCC unroll 4
    for (int i = 0; i < degree; ++i) sum = dn_fma(dn_vec_set(factor[i]), x[2 * i], sum);
    return sum;
}

/* B' x. The order of positions: 0, +p1, -p1, +p2 ..., infinity. */
DN_INLINE void input_row(const points *at, const int pairs, const int zero, const dn_vec *x,
                         dn_vec *y)
{
    if (zero) y[0] = polynomial(at->all, x, pairs);
#pragma GCC unroll 4
    for (int k = 0; k < pairs; ++k) {
        const dn_vec p = dn_vec_set(at->pair[k]);
        /* times (x +- p): p's part and x's part of the polynomial */
        const dn_vec low = polynomial(at->others[k], x + zero, pairs - 1) * p;
        const dn_vec high = polynomial(at->others[k], x + zero + 1, pairs - 1);
        y[zero + 2 * k] = high + low;
        y[zero + 2 * k + 1] = high - low;
    }
    y[2 * pairs + zero] = polynomial(at->all, x + zero, pairs);
}

/* A' x */
DN_INLINE void output_row(const points *at, const int pairs, const int zero, const dn_vec *x,
                          dn_vec *y)
{
    const int m = 2 * pairs + zero - 1;
    dn_vec even[MOST_PAIRS], odd[MOST_PAIRS];
#pragma GCC unroll 4
    for (int k = 0; k < pairs; ++k) {
        even[k] = x[zero + 2 * k] + x[zero + 2 * k + 1];
        odd[k] = x[zero + 2 * k] - x[zero + 2 * k + 1];
    }
#pragma GCC unroll 9
    for (int j = 0; j < m; ++j) {
        dn_vec sum = j == m - 1 ? x[m + 1] : dn_vec_set(0.0f);
        if (j == 0 && zero) sum = x[0];
#pragma GCC unroll 4
        for (int k = 0; k < pairs; ++k) {
            float power = 1.0f;
#pragma GCC unroll 9
            for (int i = 0; i < j; ++i) power *= at->pair[k];
            const dn_vec part = j % 2 ? odd[k] : even[k];
            if (k == 0 && j != m - 1 && !(j == 0 && zero))
                sum = part * dn_vec_set(power);
            else
                sum = dn_fma(dn_vec_set(power), part, sum);
        }
        y[j] = sum;
    }
}

DN_INLINE void input_tile(const points *at, const int pairs, const int zero, const float *in,
                          int64_t row_stride, float *v, int64_t position_stride)
{
    const int alpha = 2 * pairs + zero + 1;
    dn_vec middle[DN_MOST_ALPHA][DN_MOST_ALPHA], x[DN_MOST_ALPHA], y[DN_MOST_ALPHA];
    for (int column = 0; column < alpha; ++column, in += DN_LANES) {
#pragma GCC unroll 9
        for (int i = 0; i < alpha; ++i) x[i] = dn_vec_load(in + i * row_stride);
        input_row(at, pairs, zero, x, y);
#pragma GCC unroll 9
        for (int i = 0; i < alpha; ++i) middle[i][column] = y[i];
    }
    for (int row = 0; row < alpha; ++row) {
#pragma GCC unroll 9
        for (int i = 0; i < alpha; ++i) x[i] = middle[row][i];
        input_row(at, pairs, zero, x, y);
#pragma GCC unroll 9
        for (int i = 0; i < alpha; ++i, v += position_stride) dn_vec_store(v, y[i]);
    }
}

/* A row of outputs where the activations are linear, leaky or relu: the larger of x and slope x. */
DN_INLINE void store_bent(const dn_winograd_target *target, const dn_vec *y, const int m,
                          float *out, const float *add)
{
    const dn_vec slope = dn_vec_set(target->slope), slope_after = dn_vec_set(target->slope_after);
#pragma GCC unroll 9
    for (int i = 0; i < m; ++i) {
        if (i >= target->columns) return;
        dn_vec value = dn_vec_max(y[i], y[i] * slope);
        if (add) {
            value += dn_vec_load(add + i * DN_LANES);
            value = dn_vec_max(value, value * slope_after);
        }
        dn_vec_store(out + i * DN_LANES, value);
    }
}

DN_INLINE void store_any(const dn_winograd_target *target, const dn_vec *y, const int m, float *out,
                         const float *add)
{
    const dn_vec none = dn_vec_set(0.0f);
    dn_vec values[DN_MOST_ALPHA]; /* found by a number that is not a constant */
#pragma GCC unroll 9
    for (int i = 0; i < m; ++i) values[i] = y[i];
    for (int i = 0; i < target->columns; ++i)
        dn_vec_store(out + i * DN_LANES,
                     dn_epilogue(values[i], none, target->activation,
                                 add ? add + i * DN_LANES : NULL, target->after_add));
}

DN_INLINE void output_tile(const points *at, const int pairs, const int zero, const float *product,
                           const dn_winograd_target *target)
{
    const int alpha = 2 * pairs + zero + 1, m = alpha - 2;
    const dn_vec shift = dn_vec_load(target->shift);
    dn_vec middle[DN_MOST_ALPHA][DN_MOST_ALPHA], x[DN_MOST_ALPHA], y[DN_MOST_ALPHA];
    for (int column = 0; column < alpha; ++column, product += DN_PANEL) {
#pragma GCC unroll 9
        for (int i = 0; i < alpha; ++i) x[i] = dn_vec_load(product + i * alpha * DN_PANEL);
        output_row(at, pairs, zero, x, y);
#pragma GCC unroll 9
        for (int i = 0; i < m; ++i) middle[i][column] = y[i];
    }
    for (int row = 0; row < target->rows; ++row) {
        float *out = target->out + row * target->row_stride;
        const float *add = target->add ? target->add + row * target->row_stride : NULL;
#pragma GCC unroll 9
        for (int i = 0; i < alpha; ++i) x[i] = middle[row][i];
        output_row(at, pairs, zero, x, y);
#pragma GCC unroll 9
        for (int i = 0; i < m; ++i) y[i] += shift;
        if (target->bends)
            store_bent(target, y, m, out, add);
        else
            store_any(target, y, m, out, add);
    }
}

#define KIND(m, pairs, zero, ...)                                                                  \
    static const points points_##m = POINTS##pairs(__VA_ARGS__);                                   \
    static void input_##m(const float *in, int64_t row_stride, float *v, int64_t position_stride)  \
    {                                                                                              \
        input_tile(&points_##m, pairs, zero, in, row_stride, v, position_stride);                  \
    }                                                                                              \
    static void output_##m(const float *product, const dn_winograd_target *target)                 \
    {                                                                                              \
        output_tile(&points_##m, pairs, zero, product, target);                                    \
    }                                                                                              \
    const dn_winograd_kind DN_WINOGRAD_KIND(m) = {m,         pairs,     zero, points_##m.pair,     \
                                                  input_##m, output_##m};

/* Sixteenths: the polynomials' coefficients are exact in float32. */
KIND(2, 1, 1, 1.0f)
KIND(3, 2, 0, 0.5f, 1.5f)
KIND(4, 2, 1, 0.6875f, 1.5f)
KIND(5, 3, 0, 0.375f, 0.875f, 1.625f)
KIND(6, 3, 1, 0.5f, 1.0f, 1.75f)
KIND(7, 4, 0, 0.3125f, 0.6875f, 1.1875f, 2.0f)
