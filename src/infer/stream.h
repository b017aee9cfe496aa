/* A stream's ring of slots, the threads that fill them and the network's passes on them: what
 * stream.c and stream_*.c share. */
#ifndef DN_INFER_STREAM_H
#define DN_INFER_STREAM_H

#include "infer/flight.h"

#include <pthread.h>

typedef struct dn_stream_item { /* an image */
    char *path;                 /* of a file, or NULL */
    dn_image image;             /* of a file: the stream's */
    bool on_device;
    void *mark; /* on a device: behind its input */
    dn_status status;
    char message[512];
    double decode_ms, input_ms;
    dn_result *result;
} dn_stream_item;

typedef struct dn_stream_worker { /* what a thread of a stream has to itself */
    dn_input_scratch scratch;
    void *decoder; /* of files on the device, or NULL: the CPU decodes them */
} dn_stream_worker;

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
    dn_file_decoder decoder;
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

/* The slot of a batch. */
dn_stream_slot *dn_stream_slot_of(const dn_stream *stream, int64_t batch);

/* Room for `batch` images and their input; freed with dn_stream_slot_free, also where it failed. */
dn_status dn_stream_slot_make(const dn_stream *stream, dn_stream_slot *slot);
void dn_stream_slot_free(const dn_stream *stream, dn_stream_slot *slot);

/* Keeps what the calling thread's error says: the image has failed. */
void dn_stream_item_fail(dn_stream_item *item, dn_status status);

/* Forgets an image that is done with; its mark serves the next one. */
void dn_stream_item_clear(dn_stream_item *item);

/* Whether a stream of this network, whose device is selected, can have files decoded so. */
dn_status dn_stream_check_decoder(const dn_network *network, dn_file_decoder decoder);

/* What a worker of the stream needs for that; freed with dn_stream_worker_free. */
dn_status dn_stream_worker_make(const dn_stream *stream, dn_stream_worker *worker);
void dn_stream_worker_free(const dn_stream *stream, dn_stream_worker *worker);

/* item->image = the file's, without pixels where they are on the device. *seen: where they are,
 * until the worker's next file. */
dn_status dn_stream_decode(const dn_stream *stream, dn_stream_worker *worker, dn_stream_item *item,
                           dn_image *seen);

/* Whether batch n is there with all its inputs. The caller holds the lock. */
bool dn_stream_is_prepared(const dn_stream *stream, int64_t batch);

/* Runs the network on the slot's prepared batch, the oldest one, where that has not begun, begins
 * the next one where that is of use, and fills the results of this one. */
void dn_stream_finish(dn_stream *stream, dn_stream_slot *slot);

/* A thread that prepares images until the stream is stopped; `stream` is the dn_stream. */
void *dn_stream_work(void *stream);

#endif
