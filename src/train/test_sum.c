/* Tests only: blocks added up as a training on several devices does it. See darknet.h and ring.h.
 */
#include "core/backend.h"
#include "core/memory.h"
#include "train/devices.h"
#include "train/ring.h"

#include <pthread.h>
#include <stdio.h>

typedef struct dn_summer {
    const char *device;
    dn_ring *ring;
    dn_collective peers;
    float *values;
    int64_t count;
    bool mean;
    pthread_t thread;
    dn_status status;
} dn_summer;

static dn_status sum(dn_summer *summer, const dn_backend *backend, float *block)
{
    const size_t bytes = (size_t)summer->count * sizeof *block;
    DN_TRY(backend->copy_in(block, summer->values, bytes));
    /* behind the wrappers, which leave one that is alone alone */
    DN_TRY(
        summer->peers.way->sum_block(&summer->peers, backend, block, summer->count, summer->mean));
    return backend->copy_out(summer->values, block, bytes);
}

static dn_status sum_on_device(dn_summer *summer)
{
    const dn_backend *backend;
    int32_t number;
    void *block;
    DN_TRY(dn_backend_open(summer->device, &backend, &number));
    DN_TRY(backend->alloc((size_t)summer->count * sizeof *summer->values, &block));
    const dn_status status = sum(summer, backend, block);
    backend->free(block);
    return status;
}

static void *run(void *context)
{
    dn_summer *summer = context;
    const dn_status status = sum_on_device(summer);
    summer->status = summer->peers.way->agree(&summer->peers, status);
    dn_ring_leave(summer->ring, summer->peers.rank);
    return NULL;
}

static dn_status run_all(dn_summer *summers, int32_t count)
{
    int32_t started = 1;
    while (started < count &&
           pthread_create(&summers[started].thread, NULL, run, &summers[started]) == 0)
        started++;
    if (started < count)
        dn_ring_break(summers->ring, dn_fail(DN_ERROR_MEMORY, "cannot start a thread"));
    run(&summers[0]);
    for (int32_t i = 1; i < started; i++) pthread_join(summers[i].thread, NULL);
    return summers[0].status;
}

static dn_status sum_on(const dn_devices *devices, bool mean, float *values, int64_t count,
                        dn_ring *ring)
{
    dn_summer *summers = dn_alloc((size_t)devices->count * sizeof *summers);
    if (!summers) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < devices->count; i++)
        summers[i] = (dn_summer){.device = devices->names[i],
                                 .ring = ring,
                                 .peers = dn_ring_peers(ring, i, devices->names[i]),
                                 .values = values + i * count,
                                 .count = count,
                                 .mean = mean};
    const dn_status status = run_all(summers, devices->count);
    dn_free(summers);
    return status;
}

dn_status dn_test_sum(const char *device, bool mean, float *values, int64_t count, bool *by_devices)
{
    dn_devices devices;
    const dn_backend *backend;
    dn_ring *ring;
    DN_TRY(dn_devices_read(device, &devices));
    if (devices.count == 1) snprintf(devices.names[0], DN_DEVICE_NAME, "%s", device);
    DN_TRY(dn_backend_open(devices.names[0], &backend, &devices.numbers[0]));
    DN_TRY(dn_ring_create(devices.count, &ring));
    *by_devices = backend->sums && dn_ring_link(ring, backend->sums, devices.numbers) == DN_OK;
    const dn_status status = sum_on(&devices, mean, values, count, ring);
    dn_ring_free(ring);
    return status;
}
