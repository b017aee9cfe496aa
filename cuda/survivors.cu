/* What suppression on the device kept, on its way to the host. See suppress.h.
 *
 * It comes into the suppressor's own memory for who waits (dn_cuda_detect), or into memory of the
 * caller's for who does not (dn_cuda_survivor_device): then the next pass writes over the device's
 * list behind the copy. Such a copy takes twice as many as any batch had that was waited for; where
 * more were kept, the caller waits, and the next copies take more.
 */
#include "suppress.h"

#include "core/memory.h"

#include <string.h>

/* survivors, one thread a box. */
static __global__ void list(dn_suppression d, int64_t count)
{
    DN_GRID_STRIDE(k, count) {
        const int32_t i = (int32_t)(k % d.capacity), image = (int32_t)(k / d.capacity);
        if (i >= dn_suppress_count(&d, image) || d.best[k].kept == 0) continue;
        int64_t at = 0;
        int32_t entries;
        for (int32_t m = 0; m < image; m++) at += d.counts[m].kept;
        for (int32_t j = 0; j < i; j++) at += d.best[k - i + j].kept;
        const float objectness = dn_suppress_row(&d, image, i, &entries)[DN_YOLO_OBJECTNESS];
        const float *probs = d.probs + (int64_t)image * d.classes * d.capacity + i;
        for (int32_t c = 0; c < d.classes; c++) {
            const float prob = probs[(int64_t)c * d.capacity];
            const dn_survivor survivor = {i, c, prob, objectness, d.boxes[k]};
            if (prob > 0.0f && at < d.room) d.survivors[at] = survivor;
            at += prob > 0.0f;
        }
    }
}

static dn_status launch_list(const dn_suppression *d)
{
    const int64_t boxes = (int64_t)d->images * d->capacity;
    DN_LAUNCH(list, boxes, *d, boxes);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static int64_t first_kept(const dn_suppression *d)
{
    return (int64_t)d->images * DN_FIRST_KEPT; /* less than the room */
}

/* ---- For who waits ---- */

dn_status dn_suppress_list(dn_suppressor *suppressor)
{
    const dn_suppression *d = &suppressor->now;
    DN_TRY(launch_list(d));
    suppressor->list = DN_LIST_COMES;
    return dn_staging_bring(&suppressor->staging, 0, dn_suppress_bytes(d, first_kept(d)));
}

/* What was kept of all images; -1: an image had more boxes than there was room for, or more were
 * kept than `room`. */
static int64_t count_kept(const dn_suppression *host, int64_t room)
{
    int64_t kept = 0;
    for (int32_t image = 0; image < host->images; image++) {
        if (host->counts[image].found > host->capacity) return -1;
        kept += host->counts[image].kept;
    }
    return kept <= room ? kept : -1;
}

/* Makes room for the next pass. */
static void grow(dn_suppressor *s, const dn_suppression *host)
{
    int64_t most = 0, kept = 0;
    for (int32_t image = 0; image < host->images; image++) {
        const int32_t found = host->counts[image].found;
        if (found < INT32_MAX && found > most) most = found;
        kept += host->counts[image].kept;
    }
    if (kept > host->room && most < kept / host->images) most = kept / host->images + 1;
    if (most <= s->capacity) return; /* the head makes more, where the host asks it for boxes */
    most += most / 2;
    s->capacity = most < DN_MOST_CANDIDATES ? (int32_t)most : (int32_t)DN_MOST_CANDIDATES;
}

/* Waits for the survivors of all images; *host leads to them. Sets s->refused where there was too
 * little room. */
static dn_status wait_for_list(dn_suppressor *s, dn_suppression *host)
{
    *host = s->now;
    dn_suppress_lay_out(host, s->staging.host);
    if (s->list == DN_LIST_THERE) return DN_OK;
    DN_TRY(dn_staging_wait(&s->staging));
    const int64_t kept = count_kept(host, host->room);
    s->list = DN_LIST_THERE;
    s->refused = kept < 0;
    s->crowded = s->refused && host->capacity == DN_MOST_CANDIDATES;
    if (s->refused) {
        grow(s, host);
        return DN_OK;
    }
    if (kept > s->most_kept) s->most_kept = kept;
    if (kept <= first_kept(host)) return DN_OK;
    const size_t start = dn_suppress_bytes(host, first_kept(host));
    DN_TRY(dn_staging_bring(&s->staging, start, dn_suppress_bytes(host, kept) - start));
    return dn_staging_wait(&s->staging);
}

static const dn_survivor *first_of(const dn_suppression *host, int32_t image)
{
    const dn_survivor *survivor = host->survivors;
    for (int32_t m = 0; m < image; m++) survivor += host->counts[m].kept;
    return survivor;
}

/* The image's list as dn_detect leaves it, but that boxes without a class are zeros. */
static dn_status give(const dn_suppression *host, int32_t image, dn_detections *detections)
{
    const size_t row = (size_t)detections->classes * sizeof(float);
    const dn_survivor *survivor = first_of(host, image);
    float *probs;
    detections->count = 0;
    for (int32_t i = 0; i < host->counts[image].found; i++) {
        dn_candidate candidate = dn_candidate();
        candidate.image = image;
        candidate.best_class = -1;
        DN_TRY(dn_detections_add(detections, candidate, &probs));
        memset(probs, 0, row);
    }
    for (int32_t k = 0; k < host->counts[image].kept; k++, survivor++) {
        dn_candidate *item = &detections->items[survivor->detection];
        probs = detections->probs + (int64_t)survivor->detection * detections->classes;
        probs[survivor->class_id] = survivor->prob;
        item->box = survivor->box;
        item->objectness = survivor->objectness;
        if (item->best_class < 0 || survivor->prob > probs[item->best_class])
            item->best_class = survivor->class_id;
    }
    return DN_OK;
}

dn_status dn_cuda_detect(const dn_network *network, const dn_pass *pass, int32_t before,
                         int32_t image, dn_detections *detections, bool *done)
{
    dn_suppressor *suppressor;
    dn_suppression host;
    *done = false;
    DN_TRY(dn_suppress(network, pass, before, &suppressor));
    if (!suppressor) return DN_OK;
    if (suppressor->list == DN_LIST_NONE) DN_TRY(dn_suppress_list(suppressor));
    DN_TRY(wait_for_list(suppressor, &host));
    if (suppressor->refused) return DN_OK;
    *done = true;
    return give(&host, image, detections);
}

/* ---- For who does not ---- */

struct dn_survivors {
    char *host; /* page-locked */
    size_t bytes;
    int64_t room; /* survivors that were asked for */
    dn_suppression lists;
};

static dn_status reserve(dn_survivors *survivors, size_t bytes)
{
    if (bytes <= survivors->bytes) return DN_OK;
    cudaFreeHost(survivors->host);
    survivors->host = nullptr;
    survivors->bytes = 0;
    DN_CUDA_TRY(cudaMallocHost((void **)&survivors->host, bytes));
    survivors->bytes = bytes;
    return DN_OK;
}

static dn_status bring(dn_survivors *survivors, const dn_suppressor *s)
{
    const int64_t usual = first_kept(&s->now), most = 2 * s->most_kept;
    const int64_t wanted = most > usual ? most : usual;
    survivors->room = wanted < s->now.room ? wanted : s->now.room;
    const size_t bytes = dn_suppress_bytes(&s->now, survivors->room);
    DN_TRY(reserve(survivors, bytes));
    survivors->lists = s->now;
    dn_suppress_lay_out(&survivors->lists, survivors->host);
    DN_CUDA_TRY(cudaMemcpyAsync(survivors->host, s->staging.block, bytes, cudaMemcpyDeviceToHost));
    return DN_OK;
}

static dn_status ask(const dn_network *network, const dn_pass *pass, int32_t before,
                     dn_survivors **survivors, bool *asked)
{
    dn_suppressor *suppressor;
    *asked = false;
    DN_TRY(dn_suppress(network, pass, before, &suppressor));
    if (!suppressor || suppressor->crowded) return DN_OK;
    if (!*survivors) *survivors = (dn_survivors *)dn_alloc(sizeof **survivors);
    if (!*survivors) return DN_ERROR_MEMORY;
    DN_TRY(launch_list(&suppressor->now));
    DN_TRY(bring(*survivors, suppressor));
    *asked = true;
    return DN_OK;
}

static bool are_there(const dn_survivors *survivors)
{
    return count_kept(&survivors->lists, survivors->room) >= 0;
}

static const dn_survivor *of_image(const dn_survivors *survivors, int32_t image, int32_t *count)
{
    *count = survivors->lists.counts[image].kept;
    return first_of(&survivors->lists, image);
}

static void free_survivors(dn_survivors *survivors)
{
    if (!survivors) return;
    cudaFreeHost(survivors->host);
    dn_free(survivors);
}

const dn_survivor_device dn_cuda_survivor_device = {ask, are_there, of_image, free_survivors};
