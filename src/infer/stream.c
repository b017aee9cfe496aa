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
 * are those that were submitted.
 */
#include "core/host.h"
#include "core/memory.h"
#include "infer/flight.h"
#include "math/clock.h"

#include <pthread.h>
#include <stdio.h>

enum { DN_STREAM_WORKERS_MAX = 256, DN_IDLE_WORKERS = 8, DN_AHEAD_MAX = 1024 };

typedef struct dn_stream_item {
    char *path;     /* of a file, or NULL */
    dn_image image; /* of a file: the stream's */
    bool on_device;
    void *mark; /* on a device: behind its input */
    dn_status status;
    char message[512];
    double decode_ms, input_ms;
    dn_result *result;
} dn_stream_item;

typedef struct dn_stream_slot {
    int32_t count, claimed, prepared;
    dn_stream_item *items; /* (batch) */
    float *input;          /* (batch, channels, h, w), a block */
    dn_result **results;   /* (batch): of the images that could be used */
    dn_flight flight;
    bool begun, ended;
} dn_stream_slot;

struct dn_stream {
    dn_network *network;
    const dn_backend *backend; /* the rest is asked without the network, which may run */
    int32_t device, batch;
    dn_input_rule rule;
    dn_predict_options predict;
    dn_stream_slot *slots; /* (slot_count): batch n is in slot n mod slot_count */
    int32_t slot_count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t *threads;
    int32_t thread_count;
    int64_t submitted, claiming, taken; /* batches */
    int32_t handed;                     /* images of batch `taken` */
    int64_t number;                     /* of the next image */
    bool stop;
};

static dn_stream_slot *slot_of(const dn_stream *stream, int64_t batch)
{
    return &stream->slots[batch % stream->slot_count];
}

/* ---- workers ---- */

static void keep_failure(dn_stream_item *item, dn_status status)
{
    item->status = status;
    snprintf(item->message, sizeof item->message, "%s", dn_error_message());
}

static dn_status prepare(const dn_stream *stream, dn_stream_item *item, float *out,
                         dn_input_scratch *scratch)
{
    const double start = dn_now();
    dn_input_rule rule = stream->rule;
    rule.on_device = item->on_device;
    if (item->path) DN_TRY(dn_image_load(item->path, &item->image));
    const double decoded = dn_now();
    DN_TRY(dn_input_make(&rule, scratch, &item->image, out));
    if (item->mark) DN_TRY(stream->backend->marks->set(item->mark));
    item->decode_ms = 1e3 * (decoded - start);
    item->input_ms = 1e3 * (dn_now() - decoded);
    return DN_OK;
}

/* The next image that nobody has taken, or NULL. The caller holds the lock. */
static dn_stream_item *claim(dn_stream *stream, dn_stream_slot **slot)
{
    if (stream->claiming == stream->submitted) return NULL;
    *slot = slot_of(stream, stream->claiming);
    dn_stream_item *item = &(*slot)->items[(*slot)->claimed++];
    if ((*slot)->claimed == (*slot)->count) stream->claiming++;
    return item;
}

static void *work(void *data)
{
    dn_stream *stream = data;
    dn_input_scratch scratch = {0};
    const dn_status selected = stream->backend->select(stream->device);
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
        const dn_status status =
            selected == DN_OK ? prepare(stream, item, out, &scratch) : selected;
        if (status != DN_OK) keep_failure(item, status);
        pthread_mutex_lock(&stream->lock);
        slot->prepared++;
        pthread_cond_broadcast(&stream->changed);
    }
    pthread_mutex_unlock(&stream->lock);
    dn_input_scratch_free(stream->backend, &scratch);
    return NULL;
}

/* ---- making and freeing ---- */

static dn_status make_slot(const dn_stream *stream, dn_stream_slot *slot)
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
    return dn_flight_make(&slot->flight, stream->network, stream->batch);
}

static dn_status make(dn_stream *stream, int32_t workers)
{
    stream->slots = dn_alloc((size_t)stream->slot_count * sizeof *stream->slots);
    stream->threads = dn_alloc((size_t)workers * sizeof *stream->threads);
    if (!stream->slots || !stream->threads) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < stream->slot_count; i++) DN_TRY(make_slot(stream, &stream->slots[i]));
    DN_TRY(stream->backend->synchronise()); /* the blocks are zeroed */
    for (; stream->thread_count < workers; stream->thread_count++)
        if (pthread_create(&stream->threads[stream->thread_count], NULL, work, stream) != 0)
            return dn_fail(DN_ERROR_MEMORY, "cannot start a thread that decodes images");
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
    dn_stream *stream = dn_alloc(sizeof *stream);
    if (!stream) return DN_ERROR_MEMORY;
    const int32_t workers = workers_of(network, &asked);
    stream->network = network;
    stream->backend = network->backend;
    stream->device = network->device;
    stream->batch = network->batch;
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

static void forget_item(dn_stream_item *item)
{
    if (item->path) dn_image_free(&item->image);
    dn_free(item->path);
    dn_result_free(item->result);
    *item = (dn_stream_item){.mark = item->mark};
}

static void free_slot(const dn_stream *stream, dn_stream_slot *slot)
{
    dn_flight_free(&slot->flight);
    for (int32_t i = 0; slot->items && i < stream->batch; i++) {
        forget_item(&slot->items[i]);
        if (slot->items[i].mark) stream->backend->marks->free(slot->items[i].mark);
    }
    stream->backend->free(slot->input);
    dn_free(slot->results);
    dn_free(slot->items);
}

void dn_stream_free(dn_stream *stream)
{
    if (!stream) return;
    dn_stream_stop(stream);
    for (int32_t i = 0; i < stream->thread_count; i++) pthread_join(stream->threads[i], NULL);
    stream->backend->select(stream->device);
    for (int32_t i = 0; stream->slots && i < stream->slot_count; i++)
        free_slot(stream, &stream->slots[i]);
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
    dn_stream_slot *slot = slot_of(stream, stream->submitted); /* free: nobody else's */
    dn_status status = stream->stop ? stopped() : fill_slot(slot, images, count);
    if (status == DN_OK) {
        stream->submitted++;
        pthread_cond_broadcast(&stream->changed);
    } else if (!stream->stop) {
        for (int32_t i = 0; i < count; i++) forget_item(&slot->items[i]);
    }
    pthread_mutex_unlock(&stream->lock);
    return status;
}

/* ---- out ---- */

/* Whether batch n is there with all its inputs. The caller holds the lock. */
static bool is_prepared(const dn_stream *stream, int64_t batch)
{
    const dn_stream_slot *slot = slot_of(stream, batch);
    return batch < stream->submitted && slot->prepared == slot->count;
}

/* Waits until the oldest batch is prepared. */
dn_status dn_stream_wait(dn_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    while (!stream->stop && !is_prepared(stream, stream->taken))
        pthread_cond_wait(&stream->changed, &stream->lock);
    const dn_status status = stream->stop ? stopped() : DN_OK;
    pthread_mutex_unlock(&stream->lock);
    return status;
}

/* A result for every image that could be used, in slot->results; *count of them, and their inputs
 * side by side. */
static dn_status gather(const dn_stream *stream, dn_stream_slot *slot, int32_t *count)
{
    const dn_backend *backend = stream->backend;
    const int64_t size = dn_tensor_size(&stream->rule.shape);
    float *to = stream->rule.elsewhere ? stream->network->input.data : slot->input;
    *count = 0;
    for (int32_t i = 0; i < slot->count; i++) {
        dn_stream_item *item = &slot->items[i];
        if (item->status != DN_OK) continue;
        item->result = dn_alloc(sizeof *item->result);
        if (!item->result) return DN_ERROR_MEMORY;
        item->result->width = item->image.width;
        item->result->height = item->image.height;
        item->result->preprocess_ms = item->input_ms;
        if (item->mark) DN_TRY(backend->marks->follow(item->mark));
        float *at = to + *count * size, *from = slot->input + i * size;
        if (at != from) DN_TRY(backend->copy(at, from, (size_t)size * sizeof *at));
        slot->results[(*count)++] = item->result;
    }
    return DN_OK;
}

static dn_status run(dn_stream *stream, dn_stream_slot *slot)
{
    dn_network *network = stream->network;
    const dn_tensor *input = &network->input, *shape = &stream->rule.shape;
    int32_t count;
    if (input->w != shape->w || input->h != shape->h)
        return dn_fail(DN_ERROR_ARGUMENT,
                       "the stream was made for an input of %d x %d, the network has %d x %d now",
                       shape->w, shape->h, input->w, input->h);
    DN_TRY(dn_network_enter(network));
    DN_TRY(gather(stream, slot, &count));
    if (count == 0) return DN_OK;
    if (!network->host) DN_TRY(dn_network_set_input(network, slot->input, count));
    return dn_flight_begin(&slot->flight, network, &stream->rule, &stream->predict, slot->results,
                           count);
}

/* All images that could be used share what became of their pass. */
static void settle(dn_stream_slot *slot, dn_status status)
{
    for (int32_t i = 0; status != DN_OK && i < slot->count; i++)
        if (slot->items[i].status == DN_OK) keep_failure(&slot->items[i], status);
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
    const bool there = !stream->stop && is_prepared(stream, stream->taken + 1);
    pthread_mutex_unlock(&stream->lock);
    dn_stream_slot *next = slot_of(stream, stream->taken + 1);
    if (there && stream->slot_count > 1 && !next->begun) begin(stream, next);
}

static void finish(dn_stream *stream, dn_stream_slot *slot)
{
    if (!slot->begun) begin(stream, slot);
    begin_next(stream);
    settle(slot, dn_flight_end(&slot->flight));
    slot->ended = true;
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
    for (int32_t i = 0; i < slot->count; i++) forget_item(&slot->items[i]);
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
    dn_stream_slot *slot = slot_of(stream, stream->taken);
    if (!slot->ended) finish(stream, slot);
    const dn_status status = hand_out(stream, &slot->items[stream->handed], out);
    if (++stream->handed == slot->count) leave_slot(stream, slot);
    return status;
}
