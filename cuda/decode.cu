/* The boxes of a head on the device: what does not depend on the head. See decode.h. */
#include "decode.h"

size_t dn_decode_head_bytes(const dn_decoding *d)
{
    const size_t numbers =
        (size_t)d->images + 1 + (size_t)d->images * (size_t)d->runs + (size_t)d->capacity;
    return numbers * sizeof(int32_t);
}

size_t dn_decode_bytes(const dn_decoding *d)
{
    return dn_decode_head_bytes(d) + (size_t)d->capacity * (size_t)d->entries * sizeof(float);
}

void dn_decode_lay_out(dn_decoding *d, char *base)
{
    d->starts = (int32_t *)(void *)base;
    d->counts = d->starts + d->images + 1;
    d->found = d->counts + (size_t)d->images * (size_t)d->runs;
    d->boxes = (float *)(void *)(base + dn_decode_head_bytes(d));
}

/* One thread an image: counts become what lies before each run, starts[image + 1] their sum. */
static __global__ void add_up_runs(dn_decoding d, int64_t images)
{
    DN_GRID_STRIDE(image, images) {
        int32_t before = 0;
        for (int32_t run = 0; run < d.runs; run++) {
            const int32_t count = d.counts[image * d.runs + run];
            d.counts[image * d.runs + run] = before;
            before += count;
        }
        d.starts[image + 1] = before;
    }
}

/* One thread. */
static __global__ void add_up_images(dn_decoding d, int64_t one)
{
    DN_GRID_STRIDE(i, one) {
        d.starts[0] = 0;
        for (int32_t image = 0; image < d.images; image++) d.starts[image + 1] += d.starts[image];
    }
}

dn_status dn_decode_add_up(const dn_decoding *d)
{
    DN_LAUNCH(add_up_runs, d->images, *d, d->images);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(add_up_images, 1, *d, 1);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

dn_status dn_decode_fetch(dn_decoder *decoder, const dn_decoding *d, int32_t *total)
{
    dn_staging *staging = &decoder->staging;
    dn_decoding host = *d;
    dn_decode_lay_out(&host, staging->host);
    DN_TRY(dn_staging_fetch(staging, 0, (size_t)(d->images + 1) * sizeof(int32_t)));
    *total = host.starts[d->images];
    if (*total == 0 || *total > d->capacity) return DN_OK;
    return dn_staging_fetch(staging, dn_decode_head_bytes(d),
                            (size_t)*total * (size_t)d->entries * sizeof(float));
}

dn_status dn_decode_give(const dn_decoder *decoder, dn_decoding d, const dn_pass *pass,
                         int32_t image, dn_detections *detections)
{
    dn_decode_lay_out(&d, decoder->staging.host);
    for (int32_t r = d.starts[image]; r < d.starts[image + 1]; r++) {
        const float *values = d.boxes + (size_t)r * (size_t)d.entries;
        dn_candidate candidate = dn_candidate();
        candidate.box = {values[0], values[1], values[2], values[3]};
        candidate.objectness = values[DN_YOLO_OBJECTNESS];
        candidate.image = image;
        candidate.best_class = -1;
        DN_TRY(dn_head_add_box(pass, candidate, values + DN_YOLO_CLASSES,
                               d.entries - DN_YOLO_CLASSES, 1, detections));
    }
    return DN_OK;
}
