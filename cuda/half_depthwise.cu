/* Depthwise convolutions in half precision: see half_conv.h.
 *
 * A channel of the output reads one of the input, so that there is nothing for tensor cores: such a
 * layer moves bytes. A thread makes eight channels, 16 bytes, of one output pixel or of four beside
 * each other, for which it loads what their windows share once; sums are in float.
 */
#include "half_end.h"
#include "place.h"

/* Eight channels of an input pixel; zeros outside of the image. */
template <class T>
static __device__ inline void load_pixel(const dn_half_conv *p, const T *image, int32_t y,
                                         int32_t x, float values[8])
{
    if ((uint32_t)y < (uint32_t)p->h && (uint32_t)x < (uint32_t)p->w) {
        dn_load_eight(image + (int64_t)(y * p->w + x) * p->in_pixel, values);
        return;
    }
    DN_UNROLL
    for (int e = 0; e < 8; e++) values[e] = 0.0f;
}

/* Any size, stride and dilation. */
template <class T>
static __global__ void one_pixel(const __grid_constant__ dn_half_conv conv, int64_t count)
{
    const dn_half_conv *p = &conv;
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, p->c / 8, p->out_w); /* channels, x, row of all images */
        const int32_t image = (int32_t)(at.map / p->out_h);
        const int32_t y = ((int32_t)at.map - image * p->out_h) * p->stride_y - p->pad;
        const int32_t x = at.y * p->stride_x - p->pad, channel = at.x * 8;
        const T *in = (const T *)p->in + image * p->in_image + channel;
        const T *weights = (const T *)p->weights + channel;
        float sums[8] = {}, values[8], factors[8];
        for (int32_t down = 0; down < p->size; down++)
            for (int32_t right = 0; right < p->size; right++) {
                load_pixel(p, in, y + down * p->dilation, x + right * p->dilation, values);
                dn_load_eight(weights + (down * p->size + right) * p->c, factors);
                DN_UNROLL
                for (int e = 0; e < 8; e++) sums[e] += values[e] * factors[e];
            }
        dn_end_eight<T>(p, sums, at.map * p->out_w + at.y, channel, 0);
    }
}

enum { DN_BESIDE = 4 };

/* Without dilation. */
template <class T, int SIZE, int STRIDE>
static __global__ void four_pixels(const __grid_constant__ dn_half_conv conv, int64_t count)
{
    const dn_half_conv *p = &conv;
    const int32_t fours = (p->out_w + DN_BESIDE - 1) / DN_BESIDE;
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, p->c / 8, fours);
        const int32_t image = (int32_t)(at.map / p->out_h), first = at.y * DN_BESIDE;
        const int32_t y = ((int32_t)at.map - image * p->out_h) * p->stride_y - p->pad;
        const int32_t x = first * STRIDE - p->pad, channel = at.x * 8;
        const T *in = (const T *)p->in + image * p->in_image + channel;
        const T *weights = (const T *)p->weights + channel;
        float sums[DN_BESIDE][8] = {}, values[8], factors[SIZE][8];
        for (int32_t down = 0; down < SIZE; down++) {
            DN_UNROLL
            for (int k = 0; k < SIZE; k++)
                dn_load_eight(weights + (down * SIZE + k) * p->c, factors[k]);
            DN_UNROLL
            for (int right = 0; right < (DN_BESIDE - 1) * STRIDE + SIZE; right++) {
                load_pixel(p, in, y + down, x + right, values);
                DN_UNROLL
                for (int o = 0; o < DN_BESIDE; o++) {
                    const int k = right - o * STRIDE;
                    if (k < 0 || k >= SIZE) continue;
                    DN_UNROLL
                    for (int e = 0; e < 8; e++) sums[o][e] += values[e] * factors[k][e];
                }
            }
        }
        DN_UNROLL
        for (int o = 0; o < DN_BESIDE; o++)
            if (first + o < p->out_w)
                dn_end_eight<T>(p, sums[o], at.map * p->out_w + first + o, channel, 0);
    }
}

template <class T>
static dn_status run_one(const dn_half_conv *conv, dn_half_form, const dn_half_workspace *)
{
    const int64_t count = (int64_t)conv->images * conv->out_h * conv->out_w * (conv->c / 8);
    DN_FOLLOW(one_pixel<T>, count, *conv, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

template <class T>
static dn_status run_four(const dn_half_conv *conv, dn_half_form, const dn_half_workspace *)
{
    const int64_t fours = (conv->out_w + DN_BESIDE - 1) / DN_BESIDE;
    const int64_t count = conv->images * conv->out_h * fours * (conv->c / 8);
    if (conv->size == 3 && conv->stride_x == 1)
        DN_FOLLOW((four_pixels<T, 3, 1>), count, *conv, count);
    else if (conv->size == 3)
        DN_FOLLOW((four_pixels<T, 3, 2>), count, *conv, count);
    else if (conv->stride_x == 1)
        DN_FOLLOW((four_pixels<T, 5, 1>), count, *conv, count);
    else
        DN_FOLLOW((four_pixels<T, 5, 2>), count, *conv, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

/* What a block of 256 threads makes is their rows and columns. */
#define DN_DEPTHWISE(T, type)                                                                      \
    static const dn_half_tile forms_##type[] = {{"pixel", 32, 64, 8, 0, run_one<T>, 1},            \
                                                {"4 pixels", 128, 64, 8, 0, run_four<T>, 1}};      \
    static const dn_half_tiles any_##type = {1, forms_##type}, all_##type = {2, forms_##type};

DN_DEPTHWISE(__half, fp16)
DN_DEPTHWISE(__nv_bfloat16, bf16)

dn_half_tiles dn_half_depthwise_of(const dn_half_conv *conv)
{
    const bool four = (conv->size == 3 || conv->size == 5) && conv->dilation == 1 &&
                      (conv->stride_x == 1 || conv->stride_x == 2);
    if (four) return conv->bf16 ? all_bf16 : all_fp16;
    return conv->bf16 ? any_bf16 : any_fp16;
}
