/* dn_image_to_input on the device: a thread a pixel of the input, the same bits as the CPU's, which
 * are rounded once where the input is pixels of 16 bits. */
#include "letterbox.h"

#include "half.h"
#include "math/letterbox.h"
#include "place.h"

/* Where a pixel's values go; the first channel is red. */
struct dn_planes {
    float *out;
    int64_t plane;

    __device__ void put(int64_t pixel, const float values[DN_PIXEL]) const
    {
        for (int32_t c = 0; c < 3; c++) out[c * plane + pixel] = values[c];
    }
};

template <class T> struct dn_pixels {
    T *out;

    __device__ void put(int64_t pixel, const float values[DN_PIXEL]) const
    {
        dn_store_four(values, out + pixel * DN_PIXEL);
    }
};

template <class Out>
static __global__ void fill(const uint8_t *pixels, dn_letterbox box, bool bgr, Out out)
{
    const int64_t plane = (int64_t)box.net_h * box.net_w;
    DN_GRID_STRIDE(i, plane) {
        const dn_tap down =
            dn_letterbox_tap((int32_t)(i / box.net_w), box.image_h, box.new_h, box.pad_y);
        const dn_tap across =
            dn_letterbox_tap((int32_t)(i % box.net_w), box.image_w, box.new_w, box.pad_x);
        float values[DN_PIXEL] = {};
        DN_UNROLL
        for (int32_t c = 0; c < 3; c++)
            values[c] = dn_letterbox_value(pixels, box.image_w, across, down, bgr ? 2 - c : c);
        out.put(i, values);
    }
}

template <class Out>
static dn_status launch(const uint8_t *pixels, const dn_letterbox *box, bool bgr, Out out)
{
    DN_LAUNCH(fill<Out>, (int64_t)box->net_h * box->net_w, pixels, *box, bgr, out);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_cuda_letterbox(const uint8_t *pixels, const dn_letterbox *letterbox, bool bgr,
                            dn_input_form form, float *out)
{
    const dn_planes planes = {out, (int64_t)letterbox->net_h * letterbox->net_w};
    const dn_pixels<__half> fp16 = {(__half *)(void *)out};
    const dn_pixels<__nv_bfloat16> bf16 = {(__nv_bfloat16 *)(void *)out};
    return form == DN_INPUT_PLANAR ? launch(pixels, letterbox, bgr, planes)
           : form == DN_INPUT_FP16 ? launch(pixels, letterbox, bgr, fp16)
                                   : launch(pixels, letterbox, bgr, bf16);
}

/* Where planar floats are: known to who launches, or told on the device. */
struct dn_given {
    const float *planar;

    __device__ const float *floats() const
    {
        return planar;
    }
};

struct dn_told {
    const float *const *planar;

    __device__ const float *floats() const
    {
        return *planar;
    }
};

/* An image's part of `out` is as long as its floats. */
template <class T, class From>
static __global__ void to_pixels(From from, int32_t c, int64_t plane, float *out, int64_t count)
{
    dn_await_and_release();
    const float *planar = from.floats();
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, (int32_t)plane, 1); /* pixel x of image map */
        const float *of = planar + at.map * c * plane + at.x;
        float values[DN_PIXEL] = {};
        DN_UNROLL
        for (int32_t k = 0; k < DN_PIXEL; k++)
            if (k < c) values[k] = of[k * plane];
        dn_store_four(values, (T *)(void *)(out + at.map * c * plane) + (int64_t)at.x * DN_PIXEL);
    }
}

template <class From>
static dn_status launch_pixels(From from, int32_t images, int32_t c, int64_t plane,
                               dn_input_form form, float *out)
{
    const int64_t count = images * plane;
    if (form == DN_INPUT_FP16)
        DN_FOLLOW((to_pixels<__half, From>), count, from, c, plane, out, count);
    else
        DN_FOLLOW((to_pixels<__nv_bfloat16, From>), count, from, c, plane, out, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_cuda_to_pixels(const float *planar, int32_t c, int64_t plane, dn_input_form form,
                            float *out)
{
    const dn_given from = {planar};
    return launch_pixels(from, 1, c, plane, form, out);
}

dn_status dn_cuda_told_to_pixels(const float *const *planar, int32_t images, int32_t c,
                                 int64_t plane, dn_input_form form, float *out)
{
    const dn_told from = {planar};
    return launch_pixels(from, images, c, plane, form, out);
}
