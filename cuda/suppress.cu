/* Suppression on the device. See suppress.h. */
#include "suppress.h"

#include "core/memory.h"
#include "core/network.h"

/* ---- kernels ---- */

/* counts.found, one thread an image. */
static __global__ void count_boxes(dn_suppression d, int64_t images)
{
    dn_await_and_release();
    DN_GRID_STRIDE(image, images) {
        int32_t found = 0;
        bool whole = true;
        for (int32_t h = 0; h < d.head_count; h++) {
            const int32_t *starts = d.heads[h].starts + image;
            found += starts[1] - starts[0];
            whole = whole && starts[1] <= d.heads[h].capacity;
        }
        d.counts[image].found = whole ? found : INT32_MAX;
    }
}

/* boxes and probs, one thread a probability. */
static __global__ void merge(dn_suppression d, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(k, count) {
        const int32_t i = (int32_t)(k % d.capacity), c = (int32_t)(k / d.capacity % d.classes);
        const int32_t image = (int32_t)(k / d.capacity / d.classes);
        if (i >= dn_suppress_count(&d, image)) continue;
        int32_t entries;
        const float *row = dn_suppress_row(&d, image, i, &entries);
        float prob = 0.0f;
        if (c < entries - DN_YOLO_CLASSES)
            prob = row[DN_YOLO_OBJECTNESS] * row[DN_YOLO_CLASSES + c];
        d.probs[k] = prob > d.threshold ? prob : 0.0f;
        const dn_box box = {row[0], row[1], row[2], row[3]};
        if (c == 0) d.boxes[(int64_t)image * d.capacity + i] = box;
    }
}

static __device__ bool loses(const dn_nms_rule *rule, dn_box kept, dn_box box)
{
    if (rule->kind != DN_NMS_DEFAULT) return dn_nms_loses_by_distance(rule, kept, box);
    return dn_nms_iou(kept.x0, kept.y0, kept.x1, kept.y1, dn_area_of(kept), box, dn_area_of(box)) >
           rule->threshold;
}

/* How many of `n` come before box i. */
static __device__ int32_t rank_of(const float *probs, int32_t n, int32_t i)
{
    const float prob = probs[i];
    int32_t rank = 0;
    for (int32_t j = 0; j < n; j++) rank += probs[j] > prob || (probs[j] == prob && j < i);
    return rank;
}

/* One block a class of an image. All threads of a block go the same way: a box whose turn it is
 * was lost, or not, before the last meeting. */
static __global__ void suppress(dn_suppression d, int64_t rows)
{
    DN_BLOCK_STRIDE(row, rows)
    {
        const int32_t image = (int32_t)(row / d.classes), n = dn_suppress_count(&d, image);
        const dn_box *boxes = d.boxes + (int64_t)image * d.capacity;
        float *probs = d.probs + row * d.capacity;
        int32_t *order = d.order + row * d.capacity;
        int32_t live = 0;
        for (int32_t i = 0; i < n; i++) live += probs[i] > 0.0f;
        if (live < 2) continue;
        for (int32_t i = (int32_t)threadIdx.x; i < n; i += (int32_t)blockDim.x)
            if (probs[i] > 0.0f) order[rank_of(probs, n, i)] = i;
        __syncthreads();
        for (int32_t k = 0; k < live - 1; k++) {
            if (probs[order[k]] == 0.0f) continue;
            const dn_box kept = boxes[order[k]];
            for (int32_t j = k + 1 + (int32_t)threadIdx.x; j < live; j += (int32_t)blockDim.x)
                if (loses(&d.rule, kept, boxes[order[j]])) probs[order[j]] = 0.0f;
            __syncthreads();
        }
    }
}

/* best, one thread a box. */
static __global__ void find_best(dn_suppression d, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(k, count) {
        const int32_t i = (int32_t)(k % d.capacity), image = (int32_t)(k / d.capacity);
        if (i >= dn_suppress_count(&d, image)) continue;
        const float *probs = d.probs + (int64_t)image * d.classes * d.capacity + i;
        dn_best best = {0.0f, -1, 0, false};
        for (int32_t c = 0; c < d.classes; c++) {
            const float prob = probs[(int64_t)c * d.capacity];
            best.kept += prob > 0.0f;
            if (prob <= best.prob) continue;
            best.prob = prob;
            best.class_id = c;
        }
        best.roi = best.class_id >= 0 && !dn_box_is_empty(d.boxes[k]);
        d.best[k] = best;
    }
}

/* counts.kept and .rois, one thread an image. */
static __global__ void count_kept(dn_suppression d, int64_t images)
{
    dn_await_and_release();
    DN_GRID_STRIDE(image, images) {
        const int32_t n = dn_suppress_count(&d, (int32_t)image);
        const dn_best *best = d.best + image * d.capacity;
        int32_t kept = 0, rois = 0;
        for (int32_t i = 0; i < n; i++) {
            kept += best[i].kept;
            rois += best[i].roi;
        }
        d.counts[image].kept = kept;
        d.counts[image].rois = rois;
    }
}

/* ---- memory ---- */

static size_t counts_bytes(const dn_suppression *d)
{
    return ((size_t)d->images * sizeof *d->counts + 15) / 16 * 16;
}

size_t dn_suppress_bytes(const dn_suppression *d, int64_t survivors)
{
    return counts_bytes(d) + (size_t)survivors * sizeof *d->survivors;
}

void dn_suppress_lay_out(dn_suppression *d, char *base)
{
    d->counts = (dn_image_counts *)(void *)base;
    d->survivors = (dn_survivor *)(void *)(base + counts_bytes(d));
}

/* The other arrays, all of four-byte values. */
static size_t block_bytes(const dn_suppression *d)
{
    const size_t boxes = (size_t)d->images * (size_t)d->capacity;
    const size_t prob = sizeof *d->probs + sizeof *d->order;
    return boxes * (sizeof *d->boxes + sizeof *d->best + (size_t)d->classes * prob);
}

static void lay_out_block(dn_suppression *d, char *base)
{
    const size_t boxes = (size_t)d->images * (size_t)d->capacity;
    d->boxes = (dn_box *)(void *)base;
    d->best = (dn_best *)(void *)(d->boxes + boxes);
    d->probs = (float *)(void *)(d->best + boxes);
    d->order = (int32_t *)(void *)(d->probs + boxes * (size_t)d->classes);
}

static dn_status reserve(dn_suppressor *s, dn_suppression *d)
{
    const size_t bytes = block_bytes(d);
    DN_TRY(dn_staging_begin(&s->staging, dn_suppress_bytes(d, d->room)));
    if (bytes > s->bytes) {
        cudaFree(s->block);
        s->block = nullptr;
        s->bytes = 0;
        DN_CUDA_TRY(cudaMalloc((void **)&s->block, bytes));
        s->bytes = bytes;
    }
    dn_suppress_lay_out(d, s->staging.block);
    lay_out_block(d, s->block);
    return DN_OK;
}

void dn_suppressor_free(dn_suppressor *suppressor)
{
    if (!suppressor) return;
    dn_staging_free(&suppressor->staging);
    cudaFree(suppressor->block);
    dn_free(suppressor);
}

/* ---- what the host does ---- */

/* The last head before layer `before`, where all of them have found their boxes on the device. */
static const dn_layer *last_head(const dn_network *network, int32_t before)
{
    const dn_layer *last = nullptr;
    int32_t count = 0;
    for (int32_t i = 0; i < before && i < network->run_count; i++) {
        const dn_layer *layer = &network->layers[i];
        if (!layer->type->detect) continue;
        const dn_layer_kernels *kernels = network->backend->kernels(layer->type);
        if (!kernels || kernels->detect != dn_decode_detect || ++count > DN_HEADS) return nullptr;
        last = layer;
    }
    return last;
}

static dn_status take_heads(const dn_network *network, const dn_pass *pass, int32_t before,
                            dn_suppression *d)
{
    for (int32_t i = 0; i < before && i < network->run_count; i++) {
        const dn_layer *layer = &network->layers[i];
        if (!layer->type->detect) continue;
        DN_TRY(dn_decode_find(layer, pass));
        const dn_decoding *found = &((const dn_decoder *)layer->device)->now;
        d->heads[d->head_count++] = {found->entries, found->capacity, found->starts, found->boxes};
    }
    return DN_OK;
}

static dn_status launch(const dn_suppression *d)
{
    const int64_t boxes = (int64_t)d->images * d->capacity, rows = (int64_t)d->images * d->classes;
    DN_FOLLOW(count_boxes, d->images, *d, d->images);
    DN_CUDA_TRY(cudaGetLastError());
    DN_FOLLOW(merge, boxes * d->classes, *d, boxes * d->classes);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH_BLOCKS(suppress, rows, *d, rows);
    DN_CUDA_TRY(cudaGetLastError());
    DN_FOLLOW(find_best, boxes, *d, boxes);
    DN_CUDA_TRY(cudaGetLastError());
    DN_FOLLOW(count_kept, d->images, *d, d->images);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static bool is_made(const dn_suppressor *s, const dn_network *network, const dn_pass *pass,
                    const dn_nms_rule *rule)
{
    const dn_suppression *now = &s->now;
    return s->passes == network->passes && now->images == pass->batch &&
           now->threshold == pass->threshold && now->rule.threshold == rule->threshold &&
           now->rule.kind == rule->kind && now->rule.beta == rule->beta;
}

static dn_status suppressor_of(const dn_layer *head, dn_suppressor **out)
{
    dn_decoder *decoder = (dn_decoder *)head->device;
    if (!decoder->suppressor) {
        decoder->suppressor = (dn_suppressor *)dn_alloc(sizeof *decoder->suppressor);
        if (!decoder->suppressor) return DN_ERROR_MEMORY;
        decoder->suppressor->capacity = DN_FIRST_CANDIDATES;
    }
    *out = decoder->suppressor;
    return DN_OK;
}

dn_status dn_suppress(const dn_network *network, const dn_pass *pass, int32_t before,
                      dn_suppressor **out)
{
    const dn_layer *last = last_head(network, before);
    dn_head_info info;
    dn_suppressor *s;
    *out = nullptr;
    if (!last) return DN_OK;
    DN_TRY(dn_network_head(network, before, &info));
    DN_TRY(suppressor_of(last, &s));
    const dn_nms_rule rule =
        dn_nms_rule_of(pass->nms < 0.0f ? DN_DEFAULT_NMS : pass->nms, info.nms_kind, info.beta_nms);
    if ((int64_t)pass->batch * info.classes * s->capacity > DN_MOST_PROBS) return DN_OK;
    if (!is_made(s, network, pass, &rule)) {
        dn_suppression d = dn_suppression();
        d.images = pass->batch;
        d.classes = info.classes;
        d.capacity = s->capacity;
        d.room = d.images * d.capacity;
        d.threshold = pass->threshold;
        d.rule = rule;
        s->passes = 0; /* of no pass, should something fail */
        DN_TRY(take_heads(network, pass, before, &d));
        DN_TRY(reserve(s, &d));
        DN_TRY(launch(&d));
        s->now = d;
        s->passes = network->passes;
        s->list = DN_LIST_NONE;
        s->refused = false;
    }
    if (!s->refused) *out = s;
    return DN_OK;
}
