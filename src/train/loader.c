/* The loader: see loader.h.
 *
 * Method: a ring of a few batches. Workers take sample numbers from one counter; sample k goes to
 * slot k mod batch of ring place (k / batch) mod DN_RING, once the consumer has left that place.
 * One mutex guards the counters; loading itself runs outside it.
 */
#include "train/loader.h"

#include "core/memory.h"
#include "core/rng.h"
#include "train/class_sample.h"

#include <pthread.h>
#include <string.h>

enum { DN_RING = 3, DN_FAULTS_WAITING = 100, DN_WORKERS_MAX = 256 };

typedef struct dn_ring_place {
    float *input;       /* (batch, 3, height, width), with room for the largest size */
    dn_sample *samples; /* (batch) */
    dn_truth *truth;    /* (batch) */
    int32_t filled;     /* samples that are ready */
} dn_ring_place;

struct dn_loader {
    const dn_dataset *dataset;
    dn_loader_options options;
    int64_t image_count;
    dn_ring_place ring[DN_RING];
    int64_t *orders[2]; /* of an even and an odd epoch: (image_count) image indices */
    int64_t order_epochs[2];
    bool *reported; /* (image_count) */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t *threads;
    int32_t thread_count;
    int64_t next_sample; /* to be started, from 0 at first_sample */
    int64_t next_batch;  /* to be handed out */
    int64_t released;    /* batches the consumer has left */
    bool stop;
    dn_status failure;
    char failure_text[1024];
    char *faults[DN_FAULTS_WAITING]; /* waiting to be reported by the consumer */
    int32_t fault_count;
};

/* The images of an epoch in random order (Fisher and Yates). The caller holds the lock. */
static const int64_t *order_of(dn_loader *loader, int64_t epoch)
{
    int64_t *order = loader->orders[epoch & 1];
    if (loader->order_epochs[epoch & 1] == epoch) return order;
    dn_rng rng = dn_rng_make(loader->options.sample.seed, (uint64_t)epoch, 0, DN_RNG_SHUFFLE);
    for (int64_t i = 0; i < loader->image_count; i++) order[i] = i;
    for (int64_t i = loader->image_count - 1; i > 0; i--) {
        const int64_t j = dn_rng_below(&rng, (int32_t)(i + 1));
        const int64_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
    loader->order_epochs[epoch & 1] = epoch;
    return order;
}

static void note_fault(void *context, int64_t image)
{
    dn_loader *loader = context;
    pthread_mutex_lock(&loader->lock);
    if (!loader->reported[image] && loader->fault_count < DN_FAULTS_WAITING) {
        loader->reported[image] = true;
        char *text = dn_strdup(dn_error_message());
        if (text) loader->faults[loader->fault_count++] = text;
    }
    pthread_mutex_unlock(&loader->lock);
}

static int64_t image_of(dn_loader *loader, int64_t sample)
{
    pthread_mutex_lock(&loader->lock);
    const int64_t image =
        order_of(loader, sample / loader->image_count)[sample % loader->image_count];
    pthread_mutex_unlock(&loader->lock);
    return image;
}

/* The run's number of the index-th sample that is made here. */
static int64_t number_of(const dn_loader *loader, int64_t index)
{
    const dn_loader_options *o = &loader->options;
    return o->first_sample + index / o->own * o->sizes.samples + o->own_first + index % o->own;
}

/* How sample `number` is made: in the size of its iteration. */
static dn_sample_options options_of(const dn_loader *loader, int64_t number)
{
    const dn_sizes *sizes = &loader->options.sizes;
    dn_sample_options options = loader->options.sample;
    dn_sizes_at(sizes, number / sizes->samples, &options.width, &options.height);
    return options;
}

static dn_status load(dn_loader *loader, int64_t number, dn_ring_place *place, int64_t slot)
{
    const dn_sample_options options = options_of(loader, number);
    const dn_picture_source source = {loader->dataset, loader->options.strict, note_fault, loader};
    float *input = place->input + slot * 3 * options.width * options.height;
    dn_status (*load_sample)(const dn_picture_source *, const dn_sample_options *, int64_t, int64_t,
                             float *, dn_sample *) =
        dn_dataset_get(loader->dataset)->has_image_classes ? dn_class_sample_load : dn_sample_load;
    return load_sample(&source, &options, image_of(loader, number), number, input,
                       &place->samples[slot]);
}

static void *work(void *context)
{
    dn_loader *loader = context;
    const int32_t batch = loader->options.batch;
    pthread_mutex_lock(&loader->lock);
    while (!loader->stop) {
        const int64_t index = loader->next_sample, at = index / batch;
        if (at >= loader->released + DN_RING || loader->failure != DN_OK) {
            pthread_cond_wait(&loader->changed, &loader->lock);
            continue;
        }
        loader->next_sample++;
        pthread_mutex_unlock(&loader->lock);
        dn_ring_place *place = &loader->ring[at % DN_RING];
        const int64_t slot = index % batch;
        const dn_status status = load(loader, number_of(loader, index), place, slot);
        pthread_mutex_lock(&loader->lock);
        place->truth[slot] = place->samples[slot].truth;
        place->filled++;
        if (status != DN_OK && loader->failure == DN_OK) {
            loader->failure = status;
            strncpy(loader->failure_text, dn_error_message(), sizeof loader->failure_text - 1);
        }
        pthread_cond_broadcast(&loader->changed);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

static dn_status allocate(dn_loader *loader)
{
    const size_t batch = (size_t)loader->options.batch, images = (size_t)loader->image_count;
    int32_t width, height;
    dn_sizes_largest(&loader->options.sizes, &width, &height);
    for (int32_t i = 0; i < DN_RING; i++) {
        dn_ring_place *place = &loader->ring[i];
        void *input;
        DN_TRY(loader->options.backend->alloc_host(
            batch * 3 * (size_t)width * (size_t)height * sizeof(float), &input));
        place->input = input;
        place->samples = dn_alloc(batch * sizeof *place->samples);
        place->truth = dn_alloc(batch * sizeof *place->truth);
        if (!place->samples || !place->truth) return DN_ERROR_MEMORY;
    }
    for (int32_t i = 0; i < 2; i++) {
        loader->orders[i] = dn_alloc(images * sizeof **loader->orders);
        loader->order_epochs[i] = -1;
        if (!loader->orders[i]) return DN_ERROR_MEMORY;
    }
    loader->reported = dn_alloc(images * sizeof *loader->reported);
    loader->threads = dn_alloc((size_t)loader->options.workers * sizeof *loader->threads);
    return loader->reported && loader->threads ? DN_OK : DN_ERROR_MEMORY;
}

static dn_status start(dn_loader *loader)
{
    for (; loader->thread_count < loader->options.workers; loader->thread_count++)
        if (pthread_create(&loader->threads[loader->thread_count], NULL, work, loader) != 0)
            return dn_fail(DN_ERROR_MEMORY, "cannot start a loader thread");
    return DN_OK;
}

dn_status dn_loader_create(const dn_dataset *dataset, const dn_loader_options *options,
                           dn_loader **out)
{
    if (options->workers < 1 || options->workers > DN_WORKERS_MAX)
        return dn_fail(DN_ERROR_ARGUMENT, "%d loader threads: 1..%d are allowed", options->workers,
                       DN_WORKERS_MAX);
    dn_loader *loader = dn_alloc(sizeof *loader);
    if (!loader) return DN_ERROR_MEMORY;
    loader->dataset = dataset;
    loader->options = *options;
    if (options->own == 0) loader->options.own = (int32_t)options->sizes.samples;
    loader->image_count = dn_dataset_get(dataset)->image_count;
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->changed, NULL);
    dn_status status = loader->image_count > 0
                           ? allocate(loader)
                           : dn_fail(DN_ERROR_DATA, "the data set has no images to train on");
    if (status == DN_OK) status = start(loader);
    if (status != DN_OK) {
        dn_loader_free(loader);
        return status;
    }
    *out = loader;
    return DN_OK;
}

/* Hands the waiting faults to the consumer's callback. The caller holds the lock. */
static void report_faults(dn_loader *loader)
{
    for (int32_t i = 0; i < loader->fault_count; i++) {
        if (loader->options.fault)
            loader->options.fault(loader->options.context, loader->faults[i]);
        dn_free(loader->faults[i]);
    }
    loader->fault_count = 0;
}

dn_status dn_loader_next(dn_loader *loader, dn_batch *batch)
{
    pthread_mutex_lock(&loader->lock);
    if (loader->next_batch > 0) {
        loader->ring[(loader->next_batch - 1) % DN_RING].filled = 0;
        loader->released = loader->next_batch;
        pthread_cond_broadcast(&loader->changed);
    }
    dn_ring_place *place = &loader->ring[loader->next_batch % DN_RING];
    while (place->filled < loader->options.batch && loader->failure == DN_OK)
        pthread_cond_wait(&loader->changed, &loader->lock);
    const dn_status failure = loader->failure;
    if (failure == DN_OK) loader->next_batch++;
    report_faults(loader);
    pthread_mutex_unlock(&loader->lock);
    if (failure != DN_OK) return dn_fail(failure, "%s", loader->failure_text);
    const dn_sample_options made =
        options_of(loader, number_of(loader, (loader->next_batch - 1) * loader->options.batch));
    *batch = (dn_batch){made.width, made.height, place->input, place->truth, place->samples};
    return DN_OK;
}

void dn_loader_stop(dn_loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    loader->stop = true;
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
    for (int32_t i = 0; i < loader->thread_count; i++) pthread_join(loader->threads[i], NULL);
    loader->thread_count = 0;
}

void dn_loader_free(dn_loader *loader)
{
    if (!loader) return;
    dn_loader_stop(loader);
    pthread_mutex_destroy(&loader->lock);
    pthread_cond_destroy(&loader->changed);
    for (int32_t i = 0; i < DN_RING; i++) {
        dn_ring_place *place = &loader->ring[i];
        for (int32_t j = 0; place->samples && j < loader->options.batch; j++)
            dn_sample_free(&place->samples[j]);
        dn_free(place->samples);
        loader->options.backend->free_host(place->input);
        dn_free(place->truth);
    }
    for (int32_t i = 0; i < loader->fault_count; i++) dn_free(loader->faults[i]);
    dn_free(loader->orders[0]);
    dn_free(loader->orders[1]);
    dn_free(loader->reported);
    dn_free(loader->threads);
    dn_free(loader);
}
