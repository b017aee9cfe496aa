/* The boxes of a head on the device: what does not depend on the head. See decode.h. */
#include "suppress.h"

/* Bytes of the starts and of so many boxes, which lie behind them. */
static size_t boxes_end(const dn_decoding *d, int32_t boxes)
{
    return ((size_t)d->images + 1) * sizeof(int32_t) +
           (size_t)boxes * (size_t)d->entries * sizeof(float);
}

static int32_t first_boxes(const dn_decoding *d)
{
    return d->images * DN_FIRST_BOXES_AN_IMAGE; /* at most the capacity */
}

size_t dn_decode_bytes(const dn_decoding *d)
{
    const size_t places = (size_t)d->slots * (size_t)d->h * (size_t)d->w;
    const size_t numbers = (size_t)d->images * (1 + places);
    return boxes_end(d, d->capacity) + numbers * sizeof(int32_t);
}

void dn_decode_lay_out(dn_decoding *d, char *base)
{
    d->starts = (int32_t *)(void *)base;
    d->boxes = (float *)(void *)(base + boxes_end(d, 0));
    d->totals = (int32_t *)(void *)(base + boxes_end(d, d->capacity));
    d->found = d->totals + d->images;
}

/* The last decoding's arrays as the host has them. */
static dn_decoding host_copy(const dn_decoder *decoder)
{
    dn_decoding host = decoder->now;
    dn_decode_lay_out(&host, decoder->staging.host);
    return host;
}

dn_status dn_decode_ahead(const dn_layer *layer, const dn_pass *pass)
{
    dn_decoder *decoder = (dn_decoder *)layer->device;
    decoder->state = DN_DECODER_EMPTY;
    if (!decoder->asked) return DN_OK;
    const float threshold = pass->threshold > 0.0f ? pass->threshold : decoder->now.threshold;
    return decoder->start(layer, pass, threshold);
}

dn_status dn_decode_find(const dn_layer *layer, const dn_pass *pass)
{
    dn_decoder *decoder = (dn_decoder *)layer->device;
    decoder->asked = true;
    if (decoder->state != DN_DECODER_EMPTY && decoder->now.threshold == pass->threshold)
        return DN_OK;
    return decoder->start(layer, pass, pass->threshold);
}

void dn_decode_free(dn_decoder *decoder)
{
    dn_staging_free(&decoder->staging);
    dn_suppressor_free(decoder->suppressor);
    decoder->suppressor = nullptr;
}

static dn_status bring(dn_decoder *decoder, size_t start, size_t end)
{
    DN_TRY(dn_staging_bring(&decoder->staging, start, end - start));
    return dn_staging_wait(&decoder->staging);
}

/* Brings the boxes to the host. Where there was too little room, there is more now, and the state
 * is DN_DECODER_EMPTY. */
static dn_status bring_boxes(dn_decoder *decoder)
{
    const dn_decoding *d = &decoder->now;
    const size_t first = boxes_end(d, first_boxes(d));
    DN_TRY(bring(decoder, 0, first));
    const int32_t total = host_copy(decoder).starts[d->images];
    decoder->state = DN_DECODER_EMPTY;
    if (total > d->capacity) {
        const int32_t all = d->images * d->slots * d->h * d->w;
        decoder->capacity = total < all - total / 2 ? total + total / 2 : all;
        return DN_OK;
    }
    if (total > first_boxes(d)) DN_TRY(bring(decoder, first, boxes_end(d, total)));
    decoder->state = DN_DECODER_THERE;
    return DN_OK;
}

/* Appends the image's boxes, which are there. */
static dn_status give(const dn_decoder *decoder, const dn_pass *pass, int32_t image,
                      dn_detections *detections)
{
    const dn_decoding d = host_copy(decoder);
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

dn_status dn_decode_detect(const dn_layer *layer, const dn_pass *pass, int32_t image,
                           dn_detections *detections)
{
    dn_decoder *decoder = (dn_decoder *)layer->device;
    do {
        DN_TRY(dn_decode_find(layer, pass));
        if (decoder->state != DN_DECODER_THERE) DN_TRY(bring_boxes(decoder));
    } while (decoder->state != DN_DECODER_THERE);
    return give(decoder, pass, image, detections);
}
