/* See half_rows.h. A thread makes eight channels of a pixel of the output, or of all pixels that
 * one becomes; what a value is, is computed in float by the functions of math/ where there are
 * some. */
#include "half_rows.h"

#include "half_view.h"

/* ---- Pools and enlargements ---- */

/* A window in pieces of SIDE x SIDE pixels, whose loads are on the way together; what would lie
 * behind the window's end is its last pixel once more. */
template <class T, int SIDE>
static __device__ inline uint4 most_of(const dn_half_view<T> *in, const dn_eight_place *at,
                                       dn_pool_window window)
{
    const uint32_t least = dn_narrow_two<T>(-FLT_MAX, -FLT_MAX);
    uint4 most = {least, least, least, least}, found[SIDE * SIDE];
    for (int32_t y = window.top; y < window.bottom; y += SIDE)
        for (int32_t x = window.left; x < window.right; x += SIDE) {
            DN_UNROLL
            for (int k = 0; k < SIDE * SIDE; k++) {
                const int32_t down = y + k / SIDE, right = x + k % SIDE;
                const int32_t row = down < window.bottom ? down : window.bottom - 1;
                found[k] = *(const uint4 *)(const void *)in->at(
                    (int64_t)at->image * in->h + row,
                    right < window.right ? right : window.right - 1, at->channel);
            }
            DN_UNROLL
            for (int k = 0; k < SIDE * SIDE; k++) most = dn_most_eight<T>(most, found[k]);
        }
    return most;
}

template <class T, int SIDE>
static __global__ void maxpool(dn_pool_geometry pool, dn_half_view<T> in, dn_half_view<T> out,
                               int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_eight_place at = dn_eight_place_of(&out, i);
        const uint4 most = most_of<T, SIDE>(&in, &at, dn_pool_window_at(&pool, at.y, at.x));
        *(uint4 *)(void *)out.at(at.row, at.x, at.channel) = most;
    }
}

template <class T>
static dn_status maxpool_of(const dn_pool_geometry *pool, const dn_blocked *in,
                            const dn_blocked *out, int32_t images)
{
    const dn_half_view<T> from(in), to(out);
    const int64_t count = to.threads(images);
    if (pool->size % 2 == 0)
        DN_FOLLOW((maxpool<T, 2>), count, *pool, from, to, count);
    else
        DN_FOLLOW((maxpool<T, 3>), count, *pool, from, to, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_half_maxpool(bool bf16, const dn_pool_geometry *pool, const dn_blocked *in,
                          const dn_blocked *out, int32_t images)
{
    DN_HALF_LAUNCH(bf16, maxpool, pool, in, out, images);
}

/* A thread loads a pixel's eight channels and writes all pixels that it becomes. */
template <class T>
static __global__ void upsample(int32_t factor, float scale, dn_half_view<T> in,
                                dn_half_view<T> out, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_eight_place at = dn_eight_place_of(&in, i);
        float values[8];
        dn_load_eight(in.at(at.row, at.x, at.channel), values);
        DN_UNROLL
        for (int k = 0; k < 8; k++) values[k] *= scale;
        for (int32_t down = 0; down < factor; down++)
            for (int32_t right = 0; right < factor; right++)
                dn_store_eight(values,
                               out.at(at.row * factor + down, at.x * factor + right, at.channel));
    }
}

template <class T>
static dn_status upsample_of(int32_t factor, float scale, const dn_blocked *in,
                             const dn_blocked *out, int32_t images)
{
    const dn_half_view<T> from(in), to(out);
    DN_FOLLOW(upsample<T>, from.threads(images), factor, scale, from, to, from.threads(images));
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
        for (int k = 0; k < 8; k++) left[k] = first * left[k] + second * right[k];
        dn_activate_all<8>(activation, left);
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
        for (int k = 0; k < 8; k++) values[k] *= factors[k];
        dn_activate_all<8>(activation, values);
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
        dn_activate_all<8>(activation, values);
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
