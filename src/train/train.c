/* dn_train: one training, on one device or on several. See trainer.h.
 *
 * On several devices every one has a replica: a whole training in a thread of its own, that takes
 * its share of each batch; replica 0 is the caller's thread, and the only one that calls back,
 * validates and writes. What the replicas say to each other: ring.h.
 *
 * Limits: as one of several processes a training has one device.
 */
#include "core/memory.h"
#include "math/threads.h"
#include "train/devices.h"
#include "train/parallel.h"
#include "train/ring.h"
#include "train/trainer.h"

#include <pthread.h>
#include <stdio.h>

typedef struct dn_replica {
    dn_train_options options;
    char name[64];
    dn_ring *ring; /* NULL: one of one */
    dn_collective peers;
    dn_trainer trainer;
    pthread_t thread;
    bool cancelled;
    dn_status status;
} dn_replica;

typedef struct dn_replicas {
    dn_devices devices;
    const dn_backend *backend; /* of all */
    dn_replica *all;           /* (devices.count) */
    dn_ring *ring;
} dn_replicas;

/* ---- one replica ---- */

static void *run(void *context)
{
    dn_replica *replica = context;
    replica->status = dn_trainer_run(&replica->trainer, &replica->cancelled);
    if (replica->ring) dn_ring_leave(replica->ring, replica->peers.rank);
    return NULL;
}

/* Of several ranks one speaks. */
static void silence(dn_train_options *options)
{
    options->progress = NULL;
    options->message = NULL;
    options->validating = NULL;
    options->validated = NULL;
}

static int32_t share_of(int32_t all, int32_t count)
{
    return all > count ? all / count : 1;
}

static void prepare(dn_replica *replica, const dn_train_options *options, dn_collective peers)
{
    replica->options = *options;
    replica->peers = peers;
    if (peers.rank > 0) silence(&replica->options);
    replica->trainer.options = &replica->options;
    replica->trainer.peers = &replica->peers;
}

/* One of several in this process. */
static void prepare_one(dn_replicas *replicas, int32_t rank, const dn_train_options *options)
{
    dn_replica *replica = &replicas->all[rank];
    const int32_t count = replicas->devices.count;
    const int32_t threads = options->threads > 0 ? options->threads : dn_thread_limit();
    snprintf(replica->name, sizeof replica->name, "replica %d of %d, on %s", (int)rank + 1,
             (int)count, replicas->devices.names[rank]);
    prepare(replica, options, dn_ring_peers(replicas->ring, rank, replica->name));
    replica->ring = replicas->ring;
    replica->options.device = replicas->devices.names[rank];
    replica->options.threads = share_of(threads, count);
    if (options->workers > 0) replica->options.workers = share_of(options->workers, count);
    if (rank > 0) replica->options.cancelled = NULL; /* the caller's thread asks */
}

/* ---- several ---- */

/* Devices that are not there are told before anything begins. */
static dn_status find_backend(dn_replicas *replicas)
{
    int32_t number;
    for (int32_t i = replicas->devices.count - 1; i >= 0; i--) /* the caller's is selected last */
        DN_TRY(dn_backend_open(replicas->devices.names[i], &replicas->backend, &number));
    return DN_OK;
}

/* How gradients will be added up is no reason not to train. */
static void link_devices(dn_replicas *replicas, const dn_train_options *options)
{
    const dn_device_sums *sums = replicas->backend->sums;
    const dn_trainer *leader = &replicas->all[0].trainer;
    if (!sums) return;
    if (dn_ring_link(replicas->ring, sums, replicas->devices.numbers) == DN_OK)
        dn_trainer_say(leader, "device %s: %s adds up the gradients", options->device, sums->name);
    else
        dn_trainer_say(leader, "device %s: the host adds up the gradients: %s", options->device,
                       dn_error_message());
}

static dn_status open_replicas(dn_replicas *replicas, const dn_train_options *options)
{
    const int32_t count = replicas->devices.count;
    replicas->all = dn_alloc((size_t)count * sizeof *replicas->all);
    if (!replicas->all) return DN_ERROR_MEMORY;
    if (count == 1) {
        prepare(&replicas->all[0], options, dn_parallel_peers());
        return DN_OK;
    }
    if (dn_parallel_size() > 1)
        return dn_fail(DN_ERROR_DEVICE, "device %s: each of %d processes trains on one device",
                       options->device, dn_parallel_size());
    DN_TRY(find_backend(replicas));
    DN_TRY(dn_ring_create(count, &replicas->ring));
    for (int32_t i = 0; i < count; i++) prepare_one(replicas, i, options);
    link_devices(replicas, options);
    return DN_OK;
}

/* Replica 0 in this thread. Where one cannot be started the others end at their first meeting. */
static void run_replicas(dn_replicas *replicas)
{
    int32_t started = 1;
    while (started < replicas->devices.count &&
           pthread_create(&replicas->all[started].thread, NULL, run, &replicas->all[started]) == 0)
        started++;
    if (started < replicas->devices.count)
        dn_ring_break(replicas->ring, dn_fail(DN_ERROR_MEMORY, "cannot start a replica's thread"));
    run(&replicas->all[0]);
    for (int32_t i = 1; i < started; i++) pthread_join(replicas->all[i].thread, NULL);
}

static void free_trainer(dn_trainer *trainer)
{
    for (int64_t i = 0; i < trainer->skipped_count; i++) dn_free(trainer->skipped[i]);
    dn_free(trainer->skipped);
    dn_free(trainer->results);
}

static void close_replicas(dn_replicas *replicas)
{
    for (int32_t i = 0; replicas->all && i < replicas->devices.count; i++)
        free_trainer(&replicas->all[i].trainer);
    dn_ring_free(replicas->ring);
    dn_free(replicas->all);
    dn_free(replicas);
}

/* ---- the whole ---- */

/* Images that other replicas met count, too. */
static void list_skipped(dn_replicas *replicas)
{
    dn_trainer *trainer = &replicas->all[0].trainer;
    for (int32_t i = 1; i < replicas->devices.count; i++)
        for (int64_t k = 0; k < replicas->all[i].trainer.skipped_count; k++)
            dn_trainer_note_skipped(trainer, replicas->all[i].trainer.skipped[k]);
    if (trainer->skipped_count == 0) return;
    dn_trainer_say(trainer, "%lld images could not be used:", (long long)trainer->skipped_count);
    for (int64_t i = 0; i < trainer->skipped_count; i++)
        dn_trainer_say(trainer, "  %s", trainer->skipped[i]);
}

static dn_status train(dn_replicas *replicas, const dn_train_options *options,
                       dn_train_report *report)
{
    DN_TRY(dn_devices_read(options->device, &replicas->devices));
    DN_TRY(open_replicas(replicas, options));
    run_replicas(replicas);
    const dn_replica *leader = &replicas->all[0];
    list_skipped(replicas);
    DN_TRY(leader->status);
    DN_TRY(leader->trainer.skipped_status);
    if (report)
        *report = (dn_train_report){leader->trainer.state.earlier + leader->trainer.state.iteration,
                                    leader->trainer.state.average_loss, leader->cancelled};
    return DN_OK;
}

dn_status dn_train(const dn_train_options *options, dn_train_report *report)
{
    if (!options->cfg || !options->backup_folder || !options->dataset)
        return dn_fail(DN_ERROR_ARGUMENT, "training needs a cfg, a backup folder and a data set");
    dn_replicas *replicas = dn_alloc(sizeof *replicas);
    if (!replicas) return DN_ERROR_MEMORY;
    const dn_status status = train(replicas, options, report);
    close_replicas(replicas);
    return status;
}
