/* A stream's batches through its network. See stream.c.
 *
 * On a device the batch behind is begun, if it is prepared, before one is waited for, so that the
 * device has work while the host reads what it found. The slot keeps its input until then: where
 * the device had too little room for the boxes, the batch runs once more, behind the next one.
 */
#include "core/host.h"
#include "core/memory.h"
#include "infer/stream.h"

/* A result for every image that could be used, in slot->results; *count of them. */
static dn_status make_results(dn_stream_slot *slot, int32_t *count)
{
    *count = 0;
    for (int32_t i = 0; i < slot->count; i++) {
        dn_stream_item *item = &slot->items[i];
        if (item->status != DN_OK) continue;
        item->result = dn_alloc(sizeof *item->result);
        if (!item->result) return DN_ERROR_MEMORY;
        item->result->width = item->image.width;
        item->result->height = item->image.height;
        item->result->preprocess_ms = item->input_ms;
        slot->results[(*count)++] = item->result;
    }
    return DN_OK;
}

/* Makes the inputs of these `count` images, side by side, the network's. */
static dn_status set_input(const dn_stream *stream, const dn_stream_slot *slot, int32_t count)
{
    const dn_backend *backend = stream->backend;
    const int64_t size = dn_tensor_size(&stream->rule.shape);
    float *to = stream->rule.elsewhere ? stream->network->input.data : slot->input;
    for (int32_t i = 0; i < slot->count; i++) {
        const dn_stream_item *item = &slot->items[i];
        if (item->status != DN_OK) continue;
        if (item->mark) DN_TRY(backend->marks->follow(item->mark));
        const float *from = slot->input + i * size;
        if (to != from) DN_TRY(backend->copy(to, from, (size_t)size * sizeof *to));
        to += size;
    }
    return stream->rule.elsewhere ? DN_OK
                                  : dn_network_set_input(stream->network, slot->input, count);
}

/* Before every pass: others may have used the network. */
static dn_status enter(const dn_stream *stream)
{
    const dn_network *network = stream->network;
    const dn_tensor *input = &network->input, *shape = &stream->rule.shape;
    if (input->w != shape->w || input->h != shape->h)
        return dn_fail(DN_ERROR_ARGUMENT,
                       "the stream was made for an input of %d x %d, the network has %d x %d now",
                       shape->w, shape->h, input->w, input->h);
    return dn_network_enter(network);
}

static dn_status run(const dn_stream *stream, dn_stream_slot *slot)
{
    int32_t count;
    DN_TRY(enter(stream));
    DN_TRY(make_results(slot, &count));
    if (count == 0) return DN_OK;
    DN_TRY(set_input(stream, slot, count));
    return dn_flight_begin(&slot->flight, stream->network, slot->results, count);
}

static dn_status run_again(const dn_stream *stream, dn_stream_slot *slot)
{
    DN_TRY(enter(stream));
    DN_TRY(set_input(stream, slot, slot->flight.count));
    return dn_flight_again(&slot->flight, stream->network);
}

/* All images that could be used share what became of their pass. */
static void settle(dn_stream_slot *slot, dn_status status)
{
    for (int32_t i = 0; status != DN_OK && i < slot->count; i++)
        if (slot->items[i].status == DN_OK) dn_stream_item_fail(&slot->items[i], status);
}

static void begin(dn_stream *stream, dn_stream_slot *slot)
{
    slot->begun = true;
    settle(slot, run(stream, slot));
}

/* On a device the batch behind this one, if it is prepared. */
static void begin_next(dn_stream *stream)
{
    if (!stream->backend->marks) return;
    pthread_mutex_lock(&stream->lock);
    const bool there = !stream->stop && dn_stream_is_prepared(stream, stream->taken + 1);
    pthread_mutex_unlock(&stream->lock);
    dn_stream_slot *next = dn_stream_slot_of(stream, stream->taken + 1);
    if (there && stream->slot_count > 1 && !next->begun) begin(stream, next);
}

void dn_stream_finish(dn_stream *stream, dn_stream_slot *slot)
{
    bool again;
    if (!slot->begun) begin(stream, slot);
    begin_next(stream);
    dn_status status = dn_flight_end(&slot->flight, &again);
    if (status == DN_OK && again) status = run_again(stream, slot);
    settle(slot, status);
    slot->ended = true;
}
