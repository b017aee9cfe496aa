/* dn_stream: images through a network in overlapping stages. See darknet.h.
 *
 * A ring of slots, each of which takes one batch: its images, room for their input, what comes
 * back. Workers take images in their order, decode them and make them inputs, on a device each on a
 * stream of its own. The caller's thread, in dn_stream_next, runs the network on the batches in
 * their order; on a device it begins the next one, if that is there, before it waits for the masks
 * of the one to be handed out. One mutex guards the counters; what a slot holds belongs to its
 * worker until it is prepared, then to dn_stream_next.
 *
 * A network computes what it would compute without the stream: inputs are the same bytes, batches
 * are those that were submitted. The workers and their slots: stream_work.c; running the network on
 * them: stream_run.c.
 */
#include "infer/stream.h"
#include "core/host.h"
#include "core/memory.h"

enum { DN_STREAM_WORKERS_MAX = 256, DN_IDLE_WORKERS = 8, DN_AHEAD_MAX = 1024 };

/* ---- making and freeing ---- */

static dn_status make(dn_stream *stream, int32_t workers)
{
    stream->slots = dn_alloc((size_t)stream->slot_count * sizeof *stream->slots);
    stream->threads = dn_alloc((size_t)workers * sizeof *stream->threads);
    if (!stream->slots || !stream->threads) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < stream->slot_count; i++)
        DN_TRY(dn_stream_slot_make(stream, &stream->slots[i]));
    DN_TRY(stream->backend->synchronise()); /* the blocks are zeroed */
    for (pthread_t *thread = stream->threads; thread < stream->threads + workers; thread++) {
        if (pthread_create(thread, NULL, dn_stream_work, stream) != 0)
            return dn_fail(DN_ERROR_MEMORY, "cannot start a thread that decodes images");
        stream->thread_count++;
    }
    return DN_OK;
}

static int32_t workers_of(const dn_network *network, const dn_stream_options *options)
{
    if (options->workers > 0) return options->workers;
    const int32_t idle = network->host ? network->options.threads - 1 : 1;
    return idle < 1 ? 1 : idle > DN_IDLE_WORKERS ? DN_IDLE_WORKERS : idle;
}

dn_status dn_stream_create(dn_network *network, const dn_stream_options *options, dn_stream **out)
{
    const dn_stream_options asked = options ? *options : (dn_stream_options){0};
    if (asked.workers < 0 || asked.workers > DN_STREAM_WORKERS_MAX)
        return dn_fail(DN_ERROR_ARGUMENT, "a stream of %d workers: 0 (chosen)..%d are allowed",
                       asked.workers, DN_STREAM_WORKERS_MAX);
    if (asked.ahead < 0 || asked.ahead > DN_AHEAD_MAX)
        return dn_fail(DN_ERROR_ARGUMENT, "a stream %d batches ahead: 0 (chosen)..%d are allowed",
                       asked.ahead, DN_AHEAD_MAX);
    DN_TRY(dn_input_check(network, NULL, 0));
    DN_TRY(dn_network_enter(network));
    DN_TRY(dn_stream_check_decoder(network, asked.decoder));
    dn_stream *stream = dn_alloc(sizeof *stream);
    if (!stream) return DN_ERROR_MEMORY;
    const int32_t workers = workers_of(network, &asked);
    stream->network = network;
    stream->backend = network->backend;
    stream->device = network->device;
    stream->batch = network->batch;
    stream->decoder = asked.decoder;
    stream->predict = dn_predict_defaults(&asked.predict);
    stream->rule = dn_input_rule_of(network, &stream->predict);
    stream->rule.threads = 1;
    /* one computes, one is handed out, and each worker has a part of another one */
    const int32_t ahead = 2 + (workers + stream->batch - 1) / stream->batch;
    stream->slot_count = asked.ahead > 0 ? asked.ahead : ahead;
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->changed, NULL);
    const dn_status status = make(stream, workers);
    if (status == DN_OK)
        *out = stream;
    else
        dn_stream_free(stream);
    return status;
}

void dn_stream_stop(dn_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->stop = true;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
}

void dn_stream_free(dn_stream *stream)
{
    if (!stream) return;
    dn_stream_stop(stream);
    for (int32_t i = 0; i < stream->thread_count; i++) pthread_join(stream->threads[i], NULL);
    stream->backend->select(stream->device);
    for (int32_t i = 0; stream->slots && i < stream->slot_count; i++)
        dn_stream_slot_free(stream, &stream->slots[i]);
    pthread_cond_destroy(&stream->changed);
    pthread_mutex_destroy(&stream->lock);
    dn_free(stream->threads);
    dn_free(stream->slots);
    dn_free(stream);
}

/* ---- in ---- */

static dn_status check_images(const dn_stream *stream, const dn_stream_image *images, int32_t count)
{
    if (count < 1 || count > stream->batch)
        return dn_fail(DN_ERROR_ARGUMENT, "%d images: this stream's network was made for 1..%d",
                       count, stream->batch);
    for (int32_t i = 0; i < count; i++)
        if (!images[i].path) DN_TRY(dn_input_check_image(&images[i].image, i));
    return DN_OK;
}

static dn_status fill_slot(dn_stream_slot *slot, const dn_stream_image *images, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        dn_stream_item *item = &slot->items[i];
        item->on_device = images[i].on_device;
        if (!images[i].path) {
            item->image = images[i].image;
            continue;
        }
        item->path = dn_strdup(images[i].path);
        if (!item->path) return DN_ERROR_MEMORY;
    }
    slot->count = count;
    slot->claimed = slot->prepared = 0;
    slot->begun = slot->ended = false;
    return DN_OK;
}

static dn_status stopped(void)
{
    return dn_fail(DN_ERROR_CANCELLED, "the stream was stopped");
}

static bool has_room(const dn_stream *stream)
{
    return stream->submitted - stream->taken < stream->slot_count;
}

bool dn_stream_has_room(dn_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    const bool room = has_room(stream);
    pthread_mutex_unlock(&stream->lock);
    return room;
}

dn_status dn_stream_submit(dn_stream *stream, const dn_stream_image *images, int32_t count)
{
    DN_TRY(check_images(stream, images, count));
    pthread_mutex_lock(&stream->lock);
    while (!stream->stop && !has_room(stream)) pthread_cond_wait(&stream->changed, &stream->lock);
    dn_stream_slot *slot = dn_stream_slot_of(stream, stream->submitted); /* free: nobody else's */
    dn_status status = stream->stop ? stopped() : fill_slot(slot, images, count);
    if (status == DN_OK) {
        stream->submitted++;
        pthread_cond_broadcast(&stream->changed);
    } else if (!stream->stop) {
        for (int32_t i = 0; i < count; i++) dn_stream_item_clear(&slot->items[i]);
    }
    pthread_mutex_unlock(&stream->lock);
    return status;
}

/* ---- out ---- */

bool dn_stream_is_prepared(const dn_stream *stream, int64_t batch)
{
    const dn_stream_slot *slot = dn_stream_slot_of(stream, batch);
    return batch < stream->submitted && slot->prepared == slot->count;
}

/* Waits until the oldest batch is prepared. */
dn_status dn_stream_wait(dn_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    while (!stream->stop && !dn_stream_is_prepared(stream, stream->taken))
        pthread_cond_wait(&stream->changed, &stream->lock);
    const dn_status status = stream->stop ? stopped() : DN_OK;
    pthread_mutex_unlock(&stream->lock);
    return status;
}

static dn_status hand_out(dn_stream *stream, dn_stream_item *item, dn_stream_result *out)
{
    const int64_t number = stream->number++;
    if (item->status != DN_OK) return dn_fail(item->status, "%s", item->message);
    *out = (dn_stream_result){.number = number,
                              .result = item->result,
                              .image = item->path ? item->image : (dn_image){0},
                              .decode_ms = item->decode_ms};
    item->result = NULL;
    if (item->path) item->image = (dn_image){0};
    return DN_OK;
}

static void leave_slot(dn_stream *stream, dn_stream_slot *slot)
{
    for (int32_t i = 0; i < slot->count; i++) dn_stream_item_clear(&slot->items[i]);
    stream->handed = 0;
    pthread_mutex_lock(&stream->lock);
    stream->taken++;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
}

dn_status dn_stream_next(dn_stream *stream, dn_stream_result *out)
{
    pthread_mutex_lock(&stream->lock);
    const bool empty = stream->taken == stream->submitted;
    pthread_mutex_unlock(&stream->lock);
    if (empty) {
        *out = (dn_stream_result){0};
        return DN_OK;
    }
    DN_TRY(dn_stream_wait(stream));
    dn_stream_slot *slot = dn_stream_slot_of(stream, stream->taken);
    if (!slot->ended) dn_stream_finish(stream, slot);
    const dn_status status = hand_out(stream, &slot->items[stream->handed], out);
    if (++stream->handed == slot->count) leave_slot(stream, slot);
    return status;
}
