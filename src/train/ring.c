/* See ring.h. One mutex guards a barrier that counts the ranks that have come; between two meetings
 * each rank writes what is its own, and behind the second one reads what is the others'. */
#include "train/ring.h"

#include "core/memory.h"
#include "core/status.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
    DN_MESSAGE_SIZE = 1024,
    DN_PIECE = 1 << 20, /* floats on their way through the host, of each rank */
    DN_RUN = 1024,      /* floats that are added up at a time, in the cache */
};

typedef struct dn_seat {
    dn_ring *ring;
    const char *name;
    double values[DN_COLLECTIVE_DOUBLES];
    void *bytes;               /* that are shared */
    const dn_backend *backend; /* of the piece */
    float *piece;              /* (DN_PIECE); NULL: not needed yet */
    void *link;                /* of the ring's sums */
} dn_seat;

struct dn_ring {
    const dn_device_sums *sums; /* NULL: the host adds up */
    int32_t size, arrived;
    uint64_t meetings;
    dn_status failure; /* DN_OK: it holds */
    char message[DN_MESSAGE_SIZE];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    dn_seat seats[DN_RING_SIZE];
};

/* ---- meeting ---- */

/* The thread's message, and whose it is. The first failure stays. */
static void break_off(dn_ring *ring, const char *name, dn_status status)
{
    pthread_mutex_lock(&ring->lock);
    if (ring->failure == DN_OK) {
        ring->failure = status;
        if (name)
            snprintf(ring->message, sizeof ring->message, "%s: %s", name, dn_error_message());
        else
            snprintf(ring->message, sizeof ring->message, "%s", dn_error_message());
    }
    pthread_cond_broadcast(&ring->changed);
    pthread_mutex_unlock(&ring->lock);
}

static dn_status failure_of(const dn_ring *ring)
{
    if (ring->failure == DN_ERROR_CANCELLED) return dn_fail(ring->failure, "cancelled");
    return dn_fail(ring->failure, "%s", ring->message);
}

/* What all get: behind another one's failure that, whatever went wrong here. */
static dn_status fail(dn_seat *seat, dn_status status)
{
    break_off(seat->ring, seat->name, status);
    return failure_of(seat->ring);
}

/* Waits until all have come; fails as soon as one cannot any more. */
static dn_status meet(dn_seat *seat)
{
    dn_ring *ring = seat->ring;
    pthread_mutex_lock(&ring->lock);
    const uint64_t meeting = ring->meetings;
    if (ring->failure == DN_OK && ++ring->arrived == ring->size) {
        ring->arrived = 0;
        ring->meetings++;
        pthread_cond_broadcast(&ring->changed);
    }
    while (ring->meetings == meeting && ring->failure == DN_OK)
        pthread_cond_wait(&ring->changed, &ring->lock);
    const bool met = ring->meetings != meeting;
    pthread_mutex_unlock(&ring->lock);
    return met ? DN_OK : failure_of(ring); /* which never changes again */
}

/* ---- the collective ---- */

static dn_status agree(dn_collective *peers, dn_status status)
{
    dn_seat *seat = peers->seat;
    return status == DN_OK ? meet(seat) : fail(seat, status);
}

static void share(dn_collective *peers, void *bytes, size_t size)
{
    dn_seat *seat = peers->seat;
    const dn_seat *first = seat->ring->seats;
    seat->bytes = bytes;
    if (meet(seat) == DN_OK && seat != first) memcpy(bytes, first->bytes, size);
    (void)meet(seat); /* a broken ring is told by the next agreement */
}

static void sum(dn_collective *peers, double *values, int32_t count)
{
    dn_seat *seat = peers->seat;
    const dn_seat *seats = seat->ring->seats;
    memcpy(seat->values, values, (size_t)count * sizeof *values);
    if (meet(seat) == DN_OK)
        for (int32_t i = 0; i < count; i++) {
            values[i] = seats[0].values[i];
            for (int32_t rank = 1; rank < peers->size; rank++) values[i] += seats[rank].values[i];
        }
    (void)meet(seat);
}

/* Memory of its own, on the way between device and host. */
static dn_status open_piece(dn_seat *seat, const dn_backend *backend)
{
    void *piece;
    if (seat->piece) return DN_OK;
    DN_TRY(backend->alloc_host(DN_PIECE * sizeof *seat->piece, &piece));
    seat->backend = backend;
    seat->piece = piece;
    return DN_OK;
}

static dn_status copy_out(dn_seat *seat, const dn_backend *backend, const float *block,
                          int64_t floats)
{
    DN_TRY(open_piece(seat, backend));
    return backend->copy_out(seat->piece, block, (size_t)floats * sizeof *block);
}

static dn_status share_piece(dn_collective *peers, const dn_backend *backend, float *block,
                             int64_t floats)
{
    dn_seat *seat = peers->seat;
    const dn_seat *first = seat->ring->seats;
    if (seat == first) DN_TRY(copy_out(seat, backend, block, floats));
    DN_TRY(meet(seat));
    if (seat != first)
        DN_TRY(backend->copy_in(block, first->piece, (size_t)floats * sizeof *block));
    return meet(seat);
}

/* Where the rank's part of a piece begins, and the one before ends. */
static int64_t part_of(const dn_collective *peers, int32_t rank, int64_t floats)
{
    return floats * rank / peers->size;
}

/* The rank's part of the sum, in its own piece. */
static void add_part(const dn_collective *peers, int64_t floats, float factor)
{
    const dn_seat *own = peers->seat, *seats = own->ring->seats;
    const int64_t end = part_of(peers, peers->rank + 1, floats);
    float total[DN_RUN];
    for (int64_t at = part_of(peers, peers->rank, floats); at < end; at += DN_RUN) {
        const int64_t count = end - at < DN_RUN ? end - at : DN_RUN;
        memcpy(total, seats[0].piece + at, (size_t)count * sizeof *total);
        for (int32_t rank = 1; rank < peers->size; rank++)
            for (int64_t i = 0; i < count; i++) total[i] += seats[rank].piece[at + i];
        for (int64_t i = 0; i < count; i++) own->piece[at + i] = total[i] * factor;
    }
}

static dn_status sum_piece(dn_collective *peers, const dn_backend *backend, float *block,
                           int64_t floats, float factor)
{
    dn_seat *seat = peers->seat;
    DN_TRY(copy_out(seat, backend, block, floats));
    DN_TRY(meet(seat));
    add_part(peers, floats, factor);
    DN_TRY(meet(seat));
    for (int32_t rank = 0; rank < peers->size; rank++) {
        const int64_t at = part_of(peers, rank, floats), end = part_of(peers, rank + 1, floats);
        if (end > at)
            DN_TRY(backend->copy_in(block + at, seat->ring->seats[rank].piece + at,
                                    (size_t)(end - at) * sizeof *block));
    }
    return meet(seat);
}

/* Whoever fails leaves the ring, for good. */
static dn_status share_block(dn_collective *peers, const dn_backend *backend, float *block,
                             int64_t count)
{
    dn_status status = DN_OK;
    for (int64_t at = 0; at < count && status == DN_OK; at += DN_PIECE)
        status =
            share_piece(peers, backend, block + at, count - at < DN_PIECE ? count - at : DN_PIECE);
    return status == DN_OK ? DN_OK : fail(peers->seat, status);
}

static bool is_broken(const void *context)
{
    dn_ring *ring = (dn_ring *)context; /* the lock is no part of what is asked for */
    pthread_mutex_lock(&ring->lock);
    const bool broken = ring->failure != DN_OK;
    pthread_mutex_unlock(&ring->lock);
    return broken;
}

/* All have come: none waits on the device for one that has failed before. */
static dn_status sum_on_devices(dn_seat *seat, float *block, int64_t count, bool mean)
{
    DN_TRY(meet(seat));
    return seat->ring->sums->sum(seat->link, block, count, mean, is_broken, seat->ring);
}

static dn_status sum_block(dn_collective *peers, const dn_backend *backend, float *block,
                           int64_t count, bool mean)
{
    dn_seat *seat = peers->seat;
    const float factor = mean ? 1.0f / (float)peers->size : 1.0f;
    dn_status status = DN_OK;
    if (seat->ring->sums)
        status = sum_on_devices(seat, block, count, mean);
    else
        for (int64_t at = 0; at < count && status == DN_OK; at += DN_PIECE)
            status = sum_piece(peers, backend, block + at,
                               count - at < DN_PIECE ? count - at : DN_PIECE, factor);
    return status == DN_OK ? DN_OK : fail(seat, status);
}

/* ---- the ring ---- */

dn_status dn_ring_create(int32_t size, dn_ring **out)
{
    dn_ring *ring = dn_alloc(sizeof *ring);
    if (!ring) return DN_ERROR_MEMORY;
    ring->size = size;
    pthread_mutex_init(&ring->lock, NULL);
    pthread_cond_init(&ring->changed, NULL);
    *out = ring;
    return DN_OK;
}

dn_status dn_ring_link(dn_ring *ring, const dn_device_sums *sums, const int32_t *devices)
{
    void *links[DN_RING_SIZE];
    DN_TRY(sums->open(devices, ring->size, links));
    for (int32_t i = 0; i < ring->size; i++) ring->seats[i].link = links[i];
    ring->sums = sums;
    return DN_OK;
}

dn_collective dn_ring_peers(dn_ring *ring, int32_t rank, const char *name)
{
    static const dn_collective_way way = {"devices", agree, share, sum, share_block, sum_block};
    ring->seats[rank].ring = ring;
    ring->seats[rank].name = name;
    return (dn_collective){
        .way = &way, .rank = rank, .size = ring->size, .seat = &ring->seats[rank]};
}

void dn_ring_break(dn_ring *ring, dn_status status)
{
    break_off(ring, NULL, status);
}

void dn_ring_leave(dn_ring *ring, int32_t rank)
{
    dn_seat *seat = &ring->seats[rank];
    if (seat->link) ring->sums->close(seat->link, is_broken(ring));
    seat->link = NULL;
}

void dn_ring_free(dn_ring *ring)
{
    if (!ring) return;
    for (int32_t i = 0; i < ring->size; i++) {
        dn_seat *seat = &ring->seats[i];
        dn_ring_leave(ring, i); /* of threads that never were */
        if (seat->piece) seat->backend->free_host(seat->piece);
    }
    pthread_mutex_destroy(&ring->lock);
    pthread_cond_destroy(&ring->changed);
    dn_free(ring);
}
