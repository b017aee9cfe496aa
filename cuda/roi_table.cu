/* See roi_table.h. */
#include "roi_table.h"

#include "roi_extras.h"

#include "core/memory.h"
#include "core/roi_sampling.h"
#include "layers/roialign.h"
#include "math/roi_choice.h"

#include <string.h>

enum { DN_CHOICE_MAPS = 8 }; /* that one kernel's arguments hold */

void dn_roi_memory_free(dn_roi_memory *memory)
{
    if (!memory) return;
    dn_staging_free(&memory->staging);
    dn_staging_free(&memory->extras);
    cudaFree(memory->table.places);
    dn_free(memory);
}

static size_t rois_bytes(int64_t count)
{
    return (size_t)count * sizeof(dn_roi);
}

static size_t all_bytes(const dn_roi_table *table)
{
    return rois_bytes(table->capacity) + ((size_t)table->batch + 1) * sizeof *table->starts;
}

/* The table whose boxes and starts lie at `base`. */
static dn_roi_table table_at(const dn_roi_table *table, char *base)
{
    dn_roi_table at = *table;
    at.rois = (dn_roi *)(void *)base;
    at.starts = (int32_t *)(void *)(base + rois_bytes(table->capacity));
    return at;
}

static dn_status make(dn_roi_memory *memory, const dn_layer *layer)
{
    const dn_roi_set *set = dn_roialign_set(layer);
    dn_roi_table *table = &memory->table;
    table->capacity = set->capacity;
    table->per_image = set->per_image;
    table->batch = set->capacity / set->per_image;
    DN_TRY(dn_staging_begin(&memory->staging, all_bytes(table)));
    *table = table_at(table, memory->staging.block);
    const size_t places = (size_t)layer->input_count * (size_t)table->capacity;
    DN_CUDA_TRY(cudaMalloc((void **)&table->places, places * sizeof *table->places));
    return DN_OK;
}

dn_status dn_roi_memory_make(const dn_layer *layer, dn_roi_memory **out)
{
    dn_roi_memory *memory = (dn_roi_memory *)dn_alloc(sizeof *memory);
    if (!memory) return DN_ERROR_MEMORY;
    const dn_status status = make(memory, layer);
    if (status == DN_OK)
        *out = memory;
    else
        dn_roi_memory_free(memory);
    return status;
}

/* Cells of one axis. */
typedef struct dn_span {
    int32_t first, last;
} dn_span;

/* The cells that an axis's points touch: the first and the last point say it, and those up to one
 * cell outside touch the border. */
static __device__ dn_span cells_of(float start, float step, int32_t points, int32_t cells)
{
    const float a = start + 0.5f * step, b = start + ((float)(points - 1) + 0.5f) * step;
    const float low = fminf(a, b), high = fmaxf(a, b);
    dn_span span = {0, 0};
    if (!(high >= -1.0f && low <= (float)cells)) return span;
    span.first = (int32_t)fminf(fmaxf(low, 0.0f), (float)(cells - 1));
    span.last = (int32_t)fminf(fmaxf(high, 0.0f) + 2.0f, (float)cells);
    return span;
}

/* Place r of every box on map `level`; a box that is not pooled from it touches nothing. */
static __global__ void place_boxes(dn_roi_table table, dn_roi_map map, int32_t level,
                                   int32_t points, int64_t count)
{
    DN_GRID_STRIDE(r, count) {
        const dn_roi *roi = &table.rois[r];
        const float box[4] = {roi->expanded.x0, roi->expanded.y0, roi->expanded.x1,
                              roi->expanded.y1};
        dn_roi_place place;
        place.grid = dn_roi_grid_of(box, map.scale_x, map.scale_y, points);
        place.image = roi->image;
        const dn_span rows = cells_of(place.grid.start_y, place.grid.step_y, points, map.h);
        const dn_span columns = cells_of(place.grid.start_x, place.grid.step_x, points, map.w);
        const bool pooled = roi->level < 0 || roi->level == level;
        place.top = rows.first;
        place.bottom = pooled && columns.first < columns.last ? rows.last : rows.first;
        place.left = columns.first;
        place.right = columns.last;
        table.places[(int64_t)level * table.capacity + r] = place;
    }
}

/* starts, from the boxes, which are sorted by image; box `count` stands for the end. */
static __global__ void find_starts(dn_roi_table table, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(r, count + 1) {
        const int32_t image = r < count ? table.rois[r].image : table.batch;
        const int32_t before = r > 0 ? table.rois[r - 1].image : -1;
        for (int32_t n = before + 1; n <= image; n++) table.starts[n] = (int32_t)r;
    }
}

dn_status dn_roi_table_place(dn_roi_memory *memory, const dn_layer *layer, const dn_pass *pass)
{
    const dn_roi_pool pool = dn_roialign_pool(layer);
    for (int32_t k = 0; k < layer->input_count; k++) {
        DN_LAUNCH(place_boxes, layer->rois->count, memory->table,
                  dn_roialign_map(layer, pass->network, k), k, pool.size * pool.samples,
                  layer->rois->count);
        DN_CUDA_TRY(cudaGetLastError());
    }
    return DN_OK;
}

dn_status dn_roi_table_fill(dn_roi_memory *memory, const dn_layer *layer)
{
    const dn_roi_table *table = &memory->table;
    const int64_t count = layer->rois->count;
    DN_TRY(dn_staging_begin(&memory->staging, all_bytes(table)));
    memcpy(memory->staging.host, layer->rois->rois, rois_bytes(count));
    DN_TRY(dn_staging_send(&memory->staging, rois_bytes(count)));
    DN_FOLLOW(find_starts, count + 1, *table, count);
    DN_CUDA_TRY(cudaGetLastError());
    return layer->rois->lists_extras ? dn_roi_extras_send(memory, layer->rois) : DN_OK;
}

/* ---- on the device alone ---- */

typedef struct dn_roi_rule {
    float w, h; /* of the network's input */
    float expand;
    int32_t map_count; /* that boxes are assigned to; 0: boxes are pooled from all */
    dn_roi_map maps[DN_CHOICE_MAPS];
} dn_roi_rule;

static __device__ int32_t rois_of(const dn_suppression *d, const dn_roi_table *table, int32_t image)
{
    const int32_t rois = d->counts[image].rois;
    return rois < table->per_image ? rois : table->per_image;
}

/* starts; the last one is -1 where an image has more boxes than there was room for. */
static __global__ void set_starts(dn_suppression d, dn_roi_table table, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(n, count) {
        int32_t start = 0;
        bool fits = true;
        for (int32_t image = 0; image < d.images && image < n; image++) {
            start += rois_of(&d, &table, image);
            fits = fits && d.counts[image].found <= d.capacity;
        }
        table.starts[n] = n < count - 1 || fits ? start : -1;
    }
}

static __device__ int32_t level_of(const dn_roi_rule *rule, dn_box box)
{
    dn_roi_fit fit = {-1, 0.0, 0.0};
    const double wanted = dn_roi_wanted_stride(box);
    for (int32_t k = 0; k < rule->map_count; k++) dn_roi_fit_map(&fit, wanted, &rule->maps[k], k);
    return fit.level;
}

/* rois: of each image the best ones, by falling probability, of equal ones the earlier. One thread
 * a box of the heads. */
static __global__ void choose(dn_suppression d, dn_roi_table table, dn_roi_rule rule, int64_t count)
{
    dn_await_and_release();
    DN_GRID_STRIDE(k, count) {
        const int32_t i = (int32_t)(k % d.capacity), image = (int32_t)(k / d.capacity);
        const int32_t n = dn_suppress_count(&d, image);
        const dn_best *best = d.best + (k - i);
        if (i >= n || !best[i].roi) continue;
        int32_t rank = 0;
        for (int32_t j = 0; j < n; j++)
            rank += best[j].roi &&
                    (best[j].prob > best[i].prob || (best[j].prob == best[i].prob && j < i));
        if (rank >= table.per_image) continue;
        dn_roi roi = dn_roi_of_detection(image, i, best[i].class_id, best[i].prob, d.boxes[k],
                                         rule.w, rule.h, rule.expand);
        roi.level = level_of(&rule, roi.expanded);
        for (int32_t m = 0; m < image; m++) rank += rois_of(&d, &table, m);
        table.rois[rank] = roi;
    }
}

static dn_roi_rule rule_of(const dn_layer *layer, const dn_network *network)
{
    dn_roi_rule rule = {};
    rule.w = (float)network->input.w;
    rule.h = (float)network->input.h;
    rule.expand = dn_roialign_rules(layer)->expand;
    rule.map_count = dn_roialign_assigns(layer) ? layer->input_count : 0;
    for (int32_t k = 0; k < rule.map_count; k++) rule.maps[k] = dn_roialign_map(layer, network, k);
    return rule;
}

/* layer->rois from the copy; not *taken: it has none. */
static dn_status take_rois(dn_roi_memory *memory, const dn_layer *layer, bool *taken)
{
    dn_roi_set *set = layer->rois;
    const dn_roi_table host = table_at(&memory->table, memory->staging.host);
    const int32_t count = host.starts[host.batch];
    *taken = count >= 0;
    if (!*taken) return DN_OK;
    set->extra_count = 0;
    if (set->lists_extras) DN_TRY(dn_roi_extras_take(memory, set, count, taken));
    if (!*taken) return DN_OK;
    set->count = count;
    memcpy(set->rois, host.rois, rois_bytes(count));
    return DN_OK;
}

dn_status dn_roi_table_ask(dn_roi_memory *memory, const dn_layer *layer, const dn_pass *pass)
{
    const dn_roi_table *table = &memory->table;
    const dn_pass asked = dn_roi_detector_pass(pass, dn_roialign_rules(layer));
    dn_suppressor *suppressor;
    memory->asked = false;
    if (dn_roialign_assigns(layer) && layer->input_count > DN_CHOICE_MAPS) return DN_OK;
    DN_TRY(dn_suppress(pass->network, &asked, layer->index, &suppressor));
    if (!suppressor) return DN_OK;
    const dn_suppression *d = &suppressor->now;
    const int64_t boxes = (int64_t)d->images * d->capacity;
    DN_TRY(dn_staging_begin(&memory->staging, all_bytes(table)));
    DN_FOLLOW(set_starts, table->batch + 1, *d, *table, table->batch + 1);
    DN_CUDA_TRY(cudaGetLastError());
    DN_FOLLOW(choose, boxes, *d, *table, rule_of(layer, pass->network), boxes);
    DN_CUDA_TRY(cudaGetLastError());
    DN_TRY(dn_staging_bring(&memory->staging, 0, all_bytes(table)));
    if (layer->rois->lists_extras) DN_TRY(dn_roi_extras_choose(memory, d));
    DN_TRY(dn_suppress_list(suppressor)); /* for the result; comes while the branch runs */
    memory->asked = true;
    return DN_OK;
}

dn_status dn_roi_table_take(dn_roi_memory *memory, const dn_layer *layer, bool *chosen)
{
    memory->asked = false;
    DN_TRY(dn_staging_wait(&memory->staging));
    return take_rois(memory, layer, chosen);
}
