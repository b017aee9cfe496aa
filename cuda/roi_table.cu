/* See roi_table.h. */
#include "roi_table.h"

#include "core/memory.h"
#include "launch.h"
#include "layers/roialign.h"

void dn_roi_table_free(dn_roi_table *table)
{
    if (!table) return;
    cudaFree(table->rois);
    cudaFree(table->places);
    cudaFree(table->starts);
    dn_free(table);
}

static dn_status alloc_table(dn_roi_table *table, size_t maps)
{
    const size_t rois = (size_t)table->capacity, images = (size_t)table->batch;
    DN_CUDA_TRY(cudaMalloc((void **)&table->rois, rois * sizeof *table->rois));
    DN_CUDA_TRY(cudaMalloc((void **)&table->places, maps * rois * sizeof *table->places));
    DN_CUDA_TRY(cudaMalloc((void **)&table->starts, (images + 1) * sizeof *table->starts));
    return DN_OK;
}

dn_status dn_roi_table_make(const dn_layer *layer, dn_roi_table **out)
{
    const dn_roi_set *set = dn_roialign_set(layer);
    dn_roi_table *table = (dn_roi_table *)dn_alloc(sizeof *table);
    if (!table) return DN_ERROR_MEMORY;
    table->capacity = set->capacity;
    table->batch = set->capacity / set->per_image;
    const dn_status status = alloc_table(table, (size_t)layer->input_count);
    if (status == DN_OK)
        *out = table;
    else
        dn_roi_table_free(table);
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
    DN_GRID_STRIDE(r, count + 1) {
        const int32_t image = r < count ? table.rois[r].image : table.batch;
        const int32_t before = r > 0 ? table.rois[r - 1].image : -1;
        for (int32_t n = before + 1; n <= image; n++) table.starts[n] = (int32_t)r;
    }
}

dn_status dn_roi_table_fill(const dn_roi_table *table, const dn_layer *layer, const dn_pass *pass)
{
    const dn_roi_pool pool = dn_roialign_pool(layer);
    const int64_t count = layer->rois->count;
    DN_CUDA_TRY(cudaMemcpyAsync(table->rois, layer->rois->rois, (size_t)count * sizeof(dn_roi),
                                cudaMemcpyHostToDevice));
    for (int32_t k = 0; k < layer->input_count; k++) {
        DN_LAUNCH(place_boxes, count, *table, dn_roialign_map(layer, pass->network, k), k,
                  pool.size * pool.samples, count);
        DN_CUDA_TRY(cudaGetLastError());
    }
    DN_LAUNCH(find_starts, count + 1, *table, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}
