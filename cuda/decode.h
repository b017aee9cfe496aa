/* The boxes of a head on the device: those above the threshold, in one list. There they are
 * suppressed and become RoIs (suppress.h); the list itself comes to the host only where the host
 * has to do that.
 *
 * Order: image, row, column, slot, as the CPU's. A block counts an image's boxes that pass, adds
 * the counts up and lists them, and the values of all are gathered: no atomics, so that the list is
 * the same every time. A head says with `box_of`, below, where its boxes are; both heads
 * lay out x, y, w, h, objectness and classes alike. A dn_decoder is the first thing in the device
 * part of a head.
 *
 * Who asked for boxes once is expected to ask again: forward ends with the decoding, at the
 * pass's threshold or else that of the last time; for another threshold it is done again. Room is
 * made for DN_BOXES_AN_IMAGE boxes; when more pass, the host makes more, and all is done again.
 */
#ifndef DN_CUDA_DECODE_H
#define DN_CUDA_DECODE_H

#include "layers/head.h"
#include "math/region.h"
#include "math/yolo.h"
#include "place.h"
#include "staging.h"

enum { DN_BOXES_A_RUN = 16, DN_BOXES_AN_IMAGE = 128, DN_FIRST_BOXES_AN_IMAGE = 32 };

/* Threads that look through an image's places, a power of two. */
static constexpr int DN_FINDING = 8 * DN_WARP;

/* How a head's values lie, and where the boxes go; in device memory, or the host's copy of it. */
typedef struct dn_decoding {
    int32_t images, slots, h, w, entries; /* entries: 5 + classes */
    int32_t capacity;
    float threshold;
    const float *out; /* (images, slots, entries, h, w) */
    int32_t *starts;  /* (images + 1): an image's boxes are starts[i]..starts[i+1]-1 */
    float *boxes;     /* (capacity, entries): x0, y0, x1, y1, objectness, classes */
    int32_t *totals;  /* (images): boxes that pass */
    int32_t *found;   /* (images, places): their places, in order */
} dn_decoding;

typedef enum dn_decoder_state {
    DN_DECODER_EMPTY,
    DN_DECODER_FOUND, /* on the device */
    DN_DECODER_THERE, /* on the host, too */
} dn_decoder_state;

typedef struct dn_suppressor dn_suppressor; /* suppress.h */

/* Zeroed at first. */
typedef struct dn_decoder {
    dn_staging staging;
    int32_t capacity; /* boxes of the batch that there is room for */
    bool asked;       /* once, for boxes above now.threshold */
    dn_decoder_state state;
    dn_decoding now; /* the last one, on the device */
    /* The head's dn_decode_start. */
    dn_status (*start)(const dn_layer *layer, const dn_pass *pass, float threshold);
    dn_suppressor *suppressor; /* of the heads up to this one, or NULL */
} dn_decoder;

/* Bytes of the staging. */
size_t dn_decode_bytes(const dn_decoding *d);

/* Sets the pointers into `base`, which is either side of the staging. */
void dn_decode_lay_out(dn_decoding *d, char *base);

/* The end of a head's forward. */
dn_status dn_decode_ahead(const dn_layer *layer, const dn_pass *pass);

/* Makes sure that the boxes above the pass's threshold are on the device, as decoder->now says. */
dn_status dn_decode_find(const dn_layer *layer, const dn_pass *pass);

/* A head's `detect`: what the host gets where it suppresses boxes itself. */
dn_status dn_decode_detect(const dn_layer *layer, const dn_pass *pass, int32_t image,
                           dn_detections *detections);

void dn_decode_free(dn_decoder *decoder);

static inline __device__ dn_box box_of(const dn_yolo_head *head, const float *cell, int32_t slot,
                                       int32_t at)
{
    const int32_t row = at / head->w;
    return dn_yolo_box(head, cell, slot, row, at - row * head->w);
}

static inline __device__ dn_box box_of(const dn_region_head *head, const float *cell, int32_t slot,
                                       int32_t at)
{
    return dn_region_box(head, cell, slot, at);
}

/* The values of place `place` of an image: cell by cell, slot by slot. */
static inline __device__ const float *dn_decode_values(const dn_decoding *d, int32_t image,
                                                       int32_t place)
{
    const int64_t plane = (int64_t)d->h * d->w, cell = place / d->slots, slot = place % d->slots;
    return d->out + ((int64_t)image * d->slots + slot) * d->entries * plane + cell;
}

static inline __device__ int32_t dn_decode_places(const dn_decoding *d)
{
    return d->slots * d->h * d->w;
}

/* Where the image's boxes begin among those of all. */
static inline __device__ int32_t dn_decode_start_of(const dn_decoding *d, int32_t image)
{
    int32_t start = 0;
    for (int32_t i = 0; i < image; i++) start += d->totals[i];
    return start;
}

template <class Head>
static inline __device__ bool dn_decode_is_sane(const Head *head, const dn_decoding *d,
                                                int32_t image, int32_t place)
{
    return dn_head_is_sane(
        box_of(head, dn_decode_values(d, image, place), place % d->slots, place / d->slots));
}

/* Which of the DN_BOXES_A_RUN places from `first` on pass, a bit each: all are loaded before the
 * first is judged. */
template <class Head>
static inline __device__ uint32_t dn_decode_passing(const Head *head, const dn_decoding *d,
                                                    int32_t image, int32_t first)
{
    const int32_t places = dn_decode_places(d);
    const int64_t plane = (int64_t)d->h * d->w;
    float objectness[DN_BOXES_A_RUN];
    uint32_t passing = 0;
    DN_UNROLL
    for (int32_t k = 0; k < DN_BOXES_A_RUN; k++)
        objectness[k] = first + k < places
                            ? dn_decode_values(d, image, first + k)[DN_YOLO_OBJECTNESS * plane]
                            : d->threshold;
    DN_UNROLL
    for (int32_t k = 0; k < DN_BOXES_A_RUN; k++)
        if (objectness[k] > d->threshold && dn_decode_is_sane(head, d, image, first + k))
            passing |= 1u << k;
    return passing;
}

/* sums = those up to each thread's; of all threads of a block. */
static inline __device__ void dn_decode_add_up(int32_t *sums)
{
    for (int32_t step = 1; step < DN_FINDING; step *= 2) {
        const int32_t at = (int32_t)threadIdx.x, before = at >= step ? sums[at - step] : 0;
        __syncthreads();
        sums[at] += before;
        __syncthreads();
    }
}

/* found and totals; a block an image. A thread does some runs of places: it counts, and lists when
 * all have counted. */
template <class Head>
static __global__ void __launch_bounds__(DN_FINDING)
    dn_decode_list(const __grid_constant__ Head head, const __grid_constant__ dn_decoding d)
{
    __shared__ int32_t sums[DN_FINDING];
    const int32_t image = (int32_t)blockIdx.x, places = dn_decode_places(&d);
    const int32_t all = DN_FINDING * DN_BOXES_A_RUN;
    const int32_t share = (places + all - 1) / all * DN_BOXES_A_RUN;
    const int32_t first = (int32_t)threadIdx.x * share;
    int32_t count = 0;
    dn_await_and_release();
    for (int32_t k = first; k < first + share && k < places; k += DN_BOXES_A_RUN)
        for (uint32_t left = dn_decode_passing(&head, &d, image, k); left; left &= left - 1)
            count++;
    sums[threadIdx.x] = count;
    __syncthreads();
    dn_decode_add_up(sums);
    if (threadIdx.x == DN_FINDING - 1) d.totals[image] = sums[DN_FINDING - 1];
    int32_t *found = d.found + (int64_t)image * places + sums[threadIdx.x] - count;
    for (int32_t k = first; count > 0 && k < first + share && k < places; k += DN_BOXES_A_RUN) {
        const uint32_t passing = dn_decode_passing(&head, &d, image, k);
        for (int32_t bit = 0; bit < DN_BOXES_A_RUN; bit++)
            if (passing >> bit & 1) *found++ = k + bit;
    }
}

/* starts, and the values of the boxes: one thread a value. */
template <class Head>
static __global__ void dn_decode_gather(const __grid_constant__ Head head,
                                        const __grid_constant__ dn_decoding d, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, d.entries, 1);
        const int32_t r = (int32_t)at.map, entry = at.x;
        int32_t image = 0, start = 0;
        if (i <= d.images) d.starts[i] = dn_decode_start_of(&d, (int32_t)i);
        while (image < d.images && r >= start + d.totals[image]) start += d.totals[image++];
        if (image == d.images) continue;
        const int32_t place = d.found[(int64_t)image * dn_decode_places(&d) + r - start];
        const float *values = dn_decode_values(&d, image, place);
        float value = values[(int64_t)entry * d.h * d.w];
        if (entry < DN_YOLO_OBJECTNESS) {
            const dn_box box = box_of(&head, values, place % d.slots, place / d.slots);
            value = entry == 0 ? box.x0 : entry == 1 ? box.y0 : entry == 2 ? box.x1 : box.y1;
        }
        d.boxes[i] = value;
    }
}

/* How the head's values of `images` images lie. */
template <class Head>
static dn_decoding dn_decoding_of(const dn_decoder *decoder, int32_t images, int32_t slots,
                                  const Head *head)
{
    dn_decoding d = dn_decoding();
    d.images = images;
    d.slots = slots;
    d.h = head->h;
    d.w = head->w;
    d.entries = DN_YOLO_CLASSES + head->classes;
    d.capacity = decoder->capacity;
    return d;
}

/* Finds the boxes of all images above the threshold. */
template <class Head>
static dn_status dn_decode_start(dn_decoder *decoder, const Head *head, int32_t slots,
                                 const dn_layer *layer, const dn_pass *pass, float threshold)
{
    dn_decoding d = dn_decoding_of(decoder, pass->batch, slots, head);
    const int64_t values = (int64_t)d.capacity * d.entries; /* more than images */
    DN_TRY(dn_staging_begin(&decoder->staging, dn_decode_bytes(&d)));
    dn_decode_lay_out(&d, decoder->staging.block);
    d.threshold = threshold;
    d.out = layer->out.data;
    DN_FOLLOW_TILES(dn_decode_list<Head>, dim3((unsigned)d.images), DN_FINDING, 0, *head, d);
    DN_CUDA_TRY(cudaGetLastError());
    DN_FOLLOW(dn_decode_gather<Head>, values, *head, d, values);
    DN_CUDA_TRY(cudaGetLastError());
    decoder->now = d;
    decoder->state = DN_DECODER_FOUND;
    return DN_OK;
}

/* A head's setup: room for the boxes of `images` images. */
template <class Head>
static dn_status dn_decode_reserve(dn_decoder *decoder, int32_t images, int32_t slots,
                                   const Head *head)
{
    const int32_t capacity = images * DN_BOXES_AN_IMAGE;
    if (decoder->capacity < capacity) decoder->capacity = capacity;
    const dn_decoding d = dn_decoding_of(decoder, images, slots, head);
    decoder->state = DN_DECODER_EMPTY;
    return dn_staging_begin(&decoder->staging, dn_decode_bytes(&d));
}

#endif
