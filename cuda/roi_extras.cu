/* The other classes of RoIs' boxes on the device. See roi_extras.h. */
#include "roi_extras.h"

#include "core/roi_sampling.h"

#include <string.h>

static size_t extra_bytes(const dn_roi_table *table, int64_t extras)
{
    return ((size_t)table->capacity + 1) * sizeof *table->extra_starts +
           (size_t)extras * sizeof *table->extras;
}

static dn_roi_extra *extras_behind(const dn_roi_table *table, char *base)
{
    return (dn_roi_extra *)(void *)(base + extra_bytes(table, 0));
}

/* Room for so many, at least. */
static dn_status reserve_extras(dn_roi_memory *memory, int32_t count)
{
    dn_roi_table *table = &memory->table;
    DN_TRY(dn_staging_begin(&memory->extras, extra_bytes(table, count)));
    const size_t room = memory->extras.bytes - extra_bytes(table, 0);
    table->extra_starts = (int32_t *)(void *)memory->extras.block;
    table->extras = extras_behind(table, memory->extras.block);
    table->extra_room = (int32_t)(room / sizeof *table->extras);
    return DN_OK;
}

dn_status dn_roi_extras_send(dn_roi_memory *memory, const dn_roi_set *set)
{
    const dn_roi_table *table = &memory->table;
    DN_TRY(reserve_extras(memory, set->extra_count));
    int32_t *starts = (int32_t *)(void *)memory->extras.host, k = 0;
    for (int32_t r = 0; r <= set->count; r++) {
        while (k < set->extra_count && set->extras[k].roi < r) k++;
        starts[r] = k;
    }
    if (set->extra_count > 0)
        memcpy(extras_behind(table, memory->extras.host), set->extras,
               (size_t)set->extra_count * sizeof *set->extras);
    return dn_staging_send(&memory->extras, extra_bytes(table, set->extra_count));
}

/* Classes that RoI r's box keeps beside the best one. */
static __device__ int32_t extras_of(const dn_suppression *d, const dn_roi *roi)
{
    return d->best[(int64_t)roi->image * d->capacity + roi->detection].kept - 1;
}

/* extra_starts and extras, as many as there is room for: one thread a RoI, and one for the end. */
static __global__ void list_extras(dn_suppression d, dn_roi_table table, int64_t count)
{
    dn_await_and_release();
    const int32_t live = table.starts[table.batch];
    DN_GRID_STRIDE(i, count) {
        const int32_t r = (int32_t)i;
        int32_t at = 0;
        for (int32_t q = 0; q < r && q < live; q++) at += extras_of(&d, &table.rois[q]);
        table.extra_starts[r] = at;
        if (r >= live) continue;
        const dn_roi *roi = &table.rois[r];
        const float *probs =
            d.probs + (int64_t)roi->image * d.classes * d.capacity + roi->detection;
        for (int32_t c = 0; c < d.classes; c++) {
            if (c == roi->class_id || !(probs[(int64_t)c * d.capacity] > 0.0f)) continue;
            const dn_roi_extra extra = {r, c};
            if (at < table.extra_room) table.extras[at] = extra;
            at++;
        }
    }
}

dn_status dn_roi_extras_choose(dn_roi_memory *memory, const dn_suppression *d)
{
    const dn_roi_table *table = &memory->table;
    const int64_t count = table->capacity + 1;
    DN_TRY(reserve_extras(memory, 2 * table->capacity));
    DN_FOLLOW(list_extras, count, *d, *table, count);
    DN_CUDA_TRY(cudaGetLastError());
    return dn_staging_bring(&memory->extras, 0, extra_bytes(table, table->extra_room));
}

dn_status dn_roi_extras_take(dn_roi_memory *memory, dn_roi_set *set, int32_t rois, bool *taken)
{
    DN_TRY(dn_staging_wait(&memory->extras));
    const int32_t count = ((const int32_t *)(const void *)memory->extras.host)[rois];
    *taken = count <= memory->table.extra_room;
    if (!*taken) return DN_OK; /* the host, which then lists them, makes room */
    DN_TRY(dn_roi_extras_reserve(set, count));
    if (count > 0)
        memcpy(set->extras, extras_behind(&memory->table, memory->extras.host),
               (size_t)count * sizeof *set->extras);
    set->extra_count = count;
    return DN_OK;
}
