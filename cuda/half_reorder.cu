/* Reorders between planar floats and 16 bits, and channels to other channels: see half_rows.h.
 * Neighbouring threads of a reorder take neighbouring pixels, which lie together in planes. */
#include "half_rows.h"
#include "half_view.h"

template <class T>
static __global__ void from_planar(const float *planar, dn_half_view<T> out, int64_t count)
{
    const int32_t plane = out.h * out.w, eights = out.eights();
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, plane, eights);
        const int32_t channel = at.y * 8;
        const float *from = planar + (at.map * out.c + channel) * plane + at.x;
        float values[8];
        DN_UNROLL
        for (int k = 0; k < 8; k++)
            values[k] = channel + k < out.c ? from[(int64_t)k * plane] : 0.0f;
        dn_store_eight(values, out.data + (at.map * plane + at.x) * out.pixel + channel);
    }
}

template <class T>
static dn_status from_planar_of(const float *planar, const dn_blocked *out, int32_t images)
{
    const dn_half_view<T> to(out);
    DN_FOLLOW(from_planar<T>, to.threads(images), planar, to, to.threads(images));
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_half_from_planar(bool bf16, const float *planar, const dn_blocked *out, int32_t images)
{
    DN_HALF_LAUNCH(bf16, from_planar, planar, out, images);
}

template <class T>
static __global__ void to_planar(dn_half_view<T> in, float *planar, int64_t count)
{
    const int32_t plane = in.h * in.w, eights = in.eights();
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, plane, eights);
        const int32_t channel = at.y * 8;
        float *to = planar + (at.map * in.c + channel) * plane + at.x;
        float values[8];
        dn_load_eight(in.data + (at.map * plane + at.x) * in.pixel + channel, values);
        DN_UNROLL
        for (int k = 0; k < 8; k++)
            if (channel + k < in.c) to[(int64_t)k * plane] = values[k];
    }
}

template <class T>
static dn_status to_planar_of(const dn_blocked *in, float *planar, int32_t images)
{
    const dn_half_view<T> from(in);
    DN_FOLLOW(to_planar<T>, from.threads(images), from, planar, from.threads(images));
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_half_to_planar(bool bf16, const dn_blocked *in, float *planar, int32_t images)
{
    DN_HALF_LAUNCH(bf16, to_planar, in, planar, images);
}

/* ---- Channels to other channels ---- */

/* Eight channels of the output at a time, of which those outside of the copy stay; the copy that
 * brings a tensor's last channels makes the surplus ones 0. */
template <class T>
static __global__ void copy_channels(dn_channel_copy copy, dn_half_view<T> in, dn_half_view<T> out,
                                     int32_t eights, int64_t count)
{
    const int32_t first = copy.to / 8 * 8, end = copy.to + copy.count;
    const bool whole = (copy.from - copy.to) % 8 == 0;
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, eights, out.w);
        const int32_t channel = first + at.x * 8;
        T *to = out.at(at.map, at.y, channel);
        const T *from = in.at(at.map, at.y, 0) + copy.from - copy.to;
        if (whole && channel >= copy.to && channel + 8 <= end) {
            *(uint4 *)(void *)to = *(const uint4 *)(const void *)(from + channel);
            continue;
        }
        for (int k = 0; k < 8; k++) {
            const int32_t c = channel + k;
            if (c >= out.c)
                to[k] = dn_narrow<T>(0.0f);
            else if (c >= copy.to && c < end)
                to[k] = from[c];
        }
    }
}

template <class T>
static dn_status copy_of(dn_channel_copy copy, const dn_blocked *in, const dn_blocked *out,
                         int32_t images)
{
    const dn_half_view<T> from(in), to(out);
    const int32_t eights = (copy.to + copy.count + 7) / 8 - copy.to / 8;
    const int64_t count = (int64_t)images * to.h * to.w * eights;
    DN_FOLLOW(copy_channels<T>, count, copy, from, to, eights, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_half_copy(bool bf16, dn_channel_copy copy, const dn_blocked *in, const dn_blocked *out,
                       int32_t images)
{
    DN_HALF_LAUNCH(bf16, copy, copy, in, out, images);
}
