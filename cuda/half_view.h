/* Tensors of 16 bits as the kernels of half_rows.cu and its neighbours see them. */
#ifndef DN_CUDA_HALF_VIEW_H
#define DN_CUDA_HALF_VIEW_H

#include "half.h"
#include "infer/plan.h"
#include "place.h"

/* A view as kernels see it. */
template <class T> struct dn_half_view {
    T *data;
    int32_t c, h, w;
    int64_t pixel; /* values from one to the next; rows and images follow each other */

    explicit dn_half_view(const dn_blocked *view)
        : data((T *)(void *)view->data), c(view->c), h(view->h), w(view->w),
          pixel(view->image_stride / ((int64_t)view->h * view->w))
    {
    }

    __host__ __device__ int32_t eights() const
    {
        return (c + 7) / 8;
    }

    int64_t threads(int32_t images) const
    {
        return (int64_t)images * h * w * eights();
    }

    /* Eight channels from `channel` on; `row` counts through all images. */
    __device__ T *at(int64_t row, int32_t x, int32_t channel) const
    {
        return data + (row * w + x) * pixel + channel;
    }
};

/* Where thread i works: a row of all images', of which there are fewer than 2^31, a pixel, eight
 * channels. */
typedef struct dn_eight_place {
    int64_t row;
    int32_t image, y, x, channel;
} dn_eight_place;

template <class T>
static __device__ inline dn_eight_place dn_eight_place_of(const dn_half_view<T> *out, int64_t i)
{
    const dn_place at = dn_place_of(i, out->eights(), out->w);
    dn_eight_place place;
    place.channel = at.x * 8;
    place.x = at.y;
    place.row = at.map;
    place.image = (int32_t)((uint32_t)at.map / (uint32_t)out->h);
    place.y = (int32_t)at.map - place.image * out->h;
    return place;
}

/* Launches kernel<type>; only arguments that are views depend on the type. */
#define DN_HALF_LAUNCH(bf16, kernel, ...)                                                          \
    do {                                                                                           \
        if (bf16)                                                                                  \
            DN_TRY(kernel##_of<__nv_bfloat16>(__VA_ARGS__));                                       \
        else                                                                                       \
            DN_TRY(kernel##_of<__half>(__VA_ARGS__));                                              \
        return DN_OK;                                                                              \
    } while (0)

#endif
