/* The threads of a stream: they take images in their order, decode them and make them inputs. And
 * the slots that they fill. See stream.c.
 *
 * On a device each thread works on a stream of its own, and leaves a mark behind an input, which
 * the network's pass follows.
 */
#include "core/memory.h"
#include "infer/stream.h"
#include "math/clock.h"

#include <stdio.h>

dn_stream_slot *dn_stream_slot_of(const dn_stream *stream, int64_t batch)
{
    return &stream->slots[batch % stream->slot_count];
}

void dn_stream_item_fail(dn_stream_item *item, dn_status status)
{
    item->status = status;
    snprintf(item->message, sizeof item->message, "%s", dn_error_message());
}

static dn_status prepare(const dn_stream *stream, dn_stream_item *item, float *out,
                         dn_stream_worker *worker)
{
    const double start = dn_now();
    dn_input_rule rule = stream->rule;
    rule.on_device = item->on_device;
    dn_image seen = item->image;
    if (item->path) {
        DN_TRY(dn_stream_decode(stream, worker, item, &seen));
        rule.on_device = !item->image.data;
        rule.bgr = false;
    }
    const double decoded = dn_now();
    DN_TRY(dn_input_make(&rule, &worker->scratch, &seen, out));
    if (item->mark) DN_TRY(stream->backend->marks->set(item->mark));
    item->decode_ms = 1e3 * (decoded - start);
    item->input_ms = 1e3 * (dn_now() - decoded);
    return DN_OK;
}

/* The next image that nobody has taken, or NULL. The caller holds the lock. */
static dn_stream_item *claim(dn_stream *stream, dn_stream_slot **slot)
{
    if (stream->claiming == stream->submitted) return NULL;
    *slot = dn_stream_slot_of(stream, stream->claiming);
    dn_stream_item *item = &(*slot)->items[(*slot)->claimed++];
    if ((*slot)->claimed == (*slot)->count) stream->claiming++;
    return item;
}

void *dn_stream_work(void *data)
{
    dn_stream *stream = data;
    dn_stream_worker worker = {0};
    const dn_status made = dn_stream_worker_make(stream, &worker);
    pthread_mutex_lock(&stream->lock);
    while (!stream->stop) {
        dn_stream_slot *slot;
        dn_stream_item *item = claim(stream, &slot);
        if (!item) {
            pthread_cond_wait(&stream->changed, &stream->lock);
            continue;
        }
        pthread_mutex_unlock(&stream->lock);
        float *out = slot->input + (item - slot->items) * dn_tensor_size(&stream->rule.shape);
        const dn_status status = made == DN_OK ? prepare(stream, item, out, &worker) : made;
        if (status != DN_OK) dn_stream_item_fail(item, status);
        pthread_mutex_lock(&stream->lock);
        slot->prepared++;
        pthread_cond_broadcast(&stream->changed);
    }
    pthread_mutex_unlock(&stream->lock);
    dn_stream_worker_free(stream, &worker);
    return NULL;
}

dn_status dn_stream_slot_make(const dn_stream *stream, dn_stream_slot *slot)
{
    const dn_marks *marks = stream->backend->marks;
    const int64_t floats = stream->batch * dn_tensor_size(&stream->rule.shape);
    void *block;
    slot->items = dn_alloc((size_t)stream->batch * sizeof *slot->items);
    slot->results = dn_alloc((size_t)stream->batch * sizeof *slot->results);
    if (!slot->items || !slot->results) return DN_ERROR_MEMORY;
    for (int32_t i = 0; marks && i < stream->batch; i++) DN_TRY(marks->make(&slot->items[i].mark));
    DN_TRY(stream->backend->alloc((size_t)floats * sizeof *slot->input, &block));
    slot->input = block;
    return dn_flight_make(&slot->flight, stream->network, stream->batch, &stream->rule,
                          &stream->predict);
}

void dn_stream_item_clear(dn_stream_item *item)
{
    if (item->path) dn_image_free(&item->image);
    dn_free(item->path);
    dn_result_free(item->result);
    *item = (dn_stream_item){.mark = item->mark};
}

void dn_stream_slot_free(const dn_stream *stream, dn_stream_slot *slot)
{
    dn_flight_free(&slot->flight);
    for (int32_t i = 0; slot->items && i < stream->batch; i++) {
        dn_stream_item_clear(&slot->items[i]);
        if (slot->items[i].mark) stream->backend->marks->free(slot->items[i].mark);
    }
    stream->backend->free(slot->input);
    dn_free(slot->results);
    dn_free(slot->items);
}
