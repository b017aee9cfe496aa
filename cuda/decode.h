/* The boxes of a head on the device: those above the threshold, in one list. There they are
 * suppressed and become RoIs (suppress.h); the list itself comes to the host only where the host
 * has to do that.
 *
 * Order: image, row, column, slot, as the CPU's. One thread a run of boxes counts those that pass,
 * the counts are added up, the boxes listed, and their values gathered: no atomics, so that the
 * list is the same every time. A head says with `box_of`, below, where its boxes are; both heads
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
#include "staging.h"

enum { DN_BOXES_A_RUN = 16, DN_BOXES_AN_IMAGE = 128, DN_FIRST_BOXES_AN_IMAGE = 32 };

/* How a head's values lie, and where the boxes go; in device memory, or the host's copy of it. */
typedef struct dn_decoding {
    int32_t images, slots, h, w, entries; /* entries: 5 + classes */
    int32_t runs;                         /* of an image */
    int32_t capacity;
    float threshold;
    const float *out; /* (images, slots, entries, h, w) */
    int32_t *starts;  /* (images + 1): an image's boxes are starts[i]..starts[i+1]-1 */
    float *boxes;     /* (capacity, entries): x0, y0, x1, y1, objectness, classes */
    int32_t *counts;  /* (images, runs): boxes that pass */
    int32_t *found;   /* (capacity): image * places + place of each box, in order */
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

/* starts from counts. */
dn_status dn_decode_add_up(const dn_decoding *d);

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

template <class Head>
static inline __device__ bool dn_decode_passes(const Head *head, const dn_decoding *d,
                                               int32_t image, int32_t place)
{
    const float *values = dn_decode_values(d, image, place);
    const int64_t plane = (int64_t)d->h * d->w;
    return values[DN_YOLO_OBJECTNESS * plane] > d->threshold &&
           dn_head_is_sane(box_of(head, values, place % d->slots, place / d->slots));
}

static inline __device__ int32_t dn_decode_run_end(const dn_decoding *d, int32_t run)
{
    const int32_t places = d->slots * d->h * d->w, end = (run + 1) * DN_BOXES_A_RUN;
    return end < places ? end : places;
}

/* Only reads, so that loads do not wait for each other. */
static inline __device__ int32_t dn_decode_sum(const int32_t *counts, int32_t n)
{
    int32_t sum = 0;
    for (int32_t k = 0; k < n; k++) sum += counts[k];
    return sum;
}

template <class Head>
static __global__ void dn_decode_count(Head head, dn_decoding d, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const int32_t image = (int32_t)(i / d.runs), run = (int32_t)(i % d.runs);
        int32_t passed = 0;
        for (int32_t k = run * DN_BOXES_A_RUN; k < dn_decode_run_end(&d, run); k++)
            passed += dn_decode_passes(&head, &d, image, k);
        d.counts[i] = passed;
    }
}

template <class Head> static __global__ void dn_decode_list(Head head, dn_decoding d, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const int32_t image = (int32_t)(i / d.runs), run = (int32_t)(i % d.runs);
        int32_t at = d.starts[image] + dn_decode_sum(d.counts + (int64_t)image * d.runs, run);
        for (int32_t k = run * DN_BOXES_A_RUN; k < dn_decode_run_end(&d, run); k++) {
            if (!dn_decode_passes(&head, &d, image, k)) continue;
            if (at < d.capacity) d.found[at] = image * d.slots * d.h * d.w + k;
            at++;
        }
    }
}

/* One thread a value of a box. */
template <class Head>
static __global__ void dn_decode_gather(Head head, dn_decoding d, int64_t count)
{
    dn_await_and_release();
    const int32_t total = d.starts[d.images];
    DN_GRID_STRIDE(i, count) {
        const int32_t r = (int32_t)(i / d.entries), entry = (int32_t)(i % d.entries);
        if (r >= total) continue;
        const int32_t places = d.slots * d.h * d.w;
        const int32_t image = d.found[r] / places, place = d.found[r] % places;
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
    d.runs = (slots * d.h * d.w + DN_BOXES_A_RUN - 1) / DN_BOXES_A_RUN;
    d.capacity = decoder->capacity;
    return d;
}

/* Finds the boxes of all images above the threshold. */
template <class Head>
static dn_status dn_decode_start(dn_decoder *decoder, const Head *head, int32_t slots,
                                 const dn_layer *layer, const dn_pass *pass, float threshold)
{
    dn_decoding d = dn_decoding_of(decoder, pass->batch, slots, head);
    const int64_t runs = (int64_t)d.images * d.runs, values = (int64_t)d.capacity * d.entries;
    DN_TRY(dn_staging_begin(&decoder->staging, dn_decode_bytes(&d)));
    dn_decode_lay_out(&d, decoder->staging.block);
    d.threshold = threshold;
    d.out = layer->out.data;
    DN_FOLLOW(dn_decode_count<Head>, runs, *head, d, runs);
    DN_CUDA_TRY(cudaGetLastError());
    DN_TRY(dn_decode_add_up(&d));
    DN_FOLLOW(dn_decode_list<Head>, runs, *head, d, runs);
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
