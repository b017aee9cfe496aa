/* See half_rows.h. A thread makes eight channels of a pixel of the output; what a value is, is
 * computed in float by the functions of math/ where there are some. */
#include "half_rows.h"

#include "half_view.h"

/* ---- Pools and enlargements ---- */

template <class T>
static __global__ void maxpool(dn_pool_geometry pool, dn_half_view<T> in, dn_half_view<T> out,
                               int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_eight_place at = dn_eight_place_of(&out, i);
        const dn_pool_window window = dn_pool_window_at(&pool, at.y, at.x);
        float most[8], values[8];
        DN_UNROLL
        for (int k = 0; k < 8; k++) most[k] = -FLT_MAX;
        for (int32_t y = window.top; y < window.bottom; y++)
            for (int32_t x = window.left; x < window.right; x++) {
                dn_load_eight(in.at((int64_t)at.image * in.h + y, x, at.channel), values);
                DN_UNROLL
                for (int k = 0; k < 8; k++) most[k] = fmaxf(most[k], values[k]);
            }
        dn_store_eight(most, out.at(at.row, at.x, at.channel));
    }
}

template <class T>
static dn_status maxpool_of(const dn_pool_geometry *pool, const dn_blocked *in,
                            const dn_blocked *out, int32_t images)
{
    const dn_half_view<T> from(in), to(out);
    DN_FOLLOW(maxpool<T>, to.threads(images), *pool, from, to, to.threads(images));
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_half_maxpool(bool bf16, const dn_pool_geometry *pool, const dn_blocked *in,
                          const dn_blocked *out, int32_t images)
{
    DN_HALF_LAUNCH(bf16, maxpool, pool, in, out, images);
}

template <class T>
static __global__ void upsample(int32_t factor, float scale, dn_half_view<T> in,
                                dn_half_view<T> out, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_eight_place at = dn_eight_place_of(&out, i);
        const int64_t row = (int64_t)at.image * in.h + at.y / factor;
        float values[8];
        dn_load_eight(in.at(row, at.x / factor, at.channel), values);
        DN_UNROLL
        for (int k = 0; k < 8; k++) values[k] *= scale;
        dn_store_eight(values, out.at(at.row, at.x, at.channel));
    }
}

template <class T>
static dn_status upsample_of(int32_t factor, float scale, const dn_blocked *in,
                             const dn_blocked *out, int32_t images)
{
    const dn_half_view<T> from(in), to(out);
    DN_FOLLOW(upsample<T>, to.threads(images), factor, scale, from, to, to.threads(images));
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_half_upsample(bool bf16, int32_t factor, float scale, const dn_blocked *in,
                           const dn_blocked *out, int32_t images)
{
    DN_HALF_LAUNCH(bf16, upsample, factor, scale, in, out, images);
}

/* One thread adds all pixels of eight channels: maps are small where their mean is asked. */
template <class T>
static __global__ void average(dn_half_view<T> in, dn_half_view<T> out, int64_t count)
{
    const int32_t pixels = in.h * in.w;
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_eight_place at = dn_eight_place_of(&out, i);
        const T *from = in.data + (int64_t)at.image * pixels * in.pixel + at.channel;
        double sums[8] = {};
        float values[8];
        for (int32_t p = 0; p < pixels; p++) {
            dn_load_eight(from + p * in.pixel, values);
            DN_UNROLL
            for (int k = 0; k < 8; k++) sums[k] += (double)values[k];
        }
        DN_UNROLL
        for (int k = 0; k < 8; k++) values[k] = dn_mean_of(sums[k], pixels);
        dn_store_eight(values, out.at(at.row, at.x, at.channel));
    }
}

template <class T>
static dn_status average_of(const dn_blocked *in, const dn_blocked *out, int32_t images)
{
    const dn_half_view<T> from(in), to(out);
    DN_FOLLOW(average<T>, to.threads(images), from, to, to.threads(images));
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_half_average(bool bf16, const dn_blocked *in, const dn_blocked *out, int32_t images)
{
    DN_HALF_LAUNCH(bf16, average, in, out, images);
}

/* ---- Value by value ---- */

template <class T>
static __global__ void add(float first, float second, dn_half_view<T> a, dn_half_view<T> b,
                           dn_activation activation, dn_half_view<T> out, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_eight_place at = dn_eight_place_of(&out, i);
        float left[8], right[8];
        dn_load_eight(a.at(at.row, at.x, at.channel), left);
        dn_load_eight(b.at(at.row, at.x, at.channel), right);
        DN_UNROLL
        for (int k = 0; k < 8; k++)
            left[k] = dn_activate_fast(activation, first * left[k] + second * right[k]);
        dn_store_eight(left, out.at(at.row, at.x, at.channel));
    }
}

template <class T>
static dn_status add_of(const float factors[2], const dn_blocked *a, const dn_blocked *b,
                        dn_activation activation, const dn_blocked *out, int32_t images)
{
    const dn_half_view<T> left(a), right(b), to(out);
    DN_FOLLOW(add<T>, to.threads(images), factors[0], factors[1], left, right, activation, to,
              to.threads(images));
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_half_add(bool bf16, const float factors[2], const dn_blocked *a, const dn_blocked *b,
                      dn_activation activation, const dn_blocked *out, int32_t images)
{
    DN_HALF_LAUNCH(bf16, add, factors, a, b, activation, out, images);
}

template <class T>
static __global__ void scale(dn_half_view<T> scales, dn_half_view<T> map, dn_activation activation,
                             dn_half_view<T> out, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_eight_place at = dn_eight_place_of(&out, i);
        float values[8], factors[8];
        dn_load_eight(map.at(at.row, at.x, at.channel), values);
        dn_load_eight(scales.at(at.image, 0, at.channel), factors);
        DN_UNROLL
        for (int k = 0; k < 8; k++)
            values[k] = dn_activate_fast(activation, factors[k] * values[k]);
        dn_store_eight(values, out.at(at.row, at.x, at.channel));
    }
}

template <class T>
static dn_status scale_of(const dn_blocked *scales, const dn_blocked *map, dn_activation activation,
                          const dn_blocked *out, int32_t images)
{
    const dn_half_view<T> factors(scales), from(map), to(out);
    DN_FOLLOW(scale<T>, to.threads(images), factors, from, activation, to, to.threads(images));
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_half_scale(bool bf16, const dn_blocked *scales, const dn_blocked *map,
                        dn_activation activation, const dn_blocked *out, int32_t images)
{
    DN_HALF_LAUNCH(bf16, scale, scales, map, activation, out, images);
}

template <class T>
static __global__ void activate(dn_half_view<T> in, dn_activation activation, dn_half_view<T> out,
                                int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_eight_place at = dn_eight_place_of(&out, i);
        float values[8];
        dn_load_eight(in.at(at.row, at.x, at.channel), values);
        DN_UNROLL
        for (int k = 0; k < 8; k++) values[k] = dn_activate_fast(activation, values[k]);
        dn_store_eight(values, out.at(at.row, at.x, at.channel));
    }
}

template <class T>
static dn_status activate_of(const dn_blocked *in, dn_activation activation, const dn_blocked *out,
                             int32_t images)
{
    const dn_half_view<T> from(in), to(out);
    DN_FOLLOW(activate<T>, to.threads(images), from, activation, to, to.threads(images));
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_half_activate(bool bf16, const dn_blocked *in, dn_activation activation,
                           const dn_blocked *out, int32_t images)
{
    DN_HALF_LAUNCH(bf16, activate, in, activation, out, images);
}
