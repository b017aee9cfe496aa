/* Masks on the device: answers taken, kept, pasted densely. See paste.h and core/mask_device.h.
 *
 * Which columns of an image a mask can touch, the host finds as it would to paste: kernels know
 * then how many there are. An answer is where the last pass left it, [mask]'s output for the class
 * of its box, else the logits before; it is copied, since the next pass writes there.
 */
#include "paste.h"

#include "place.h"

#include "core/memory.h"
#include "layers/mask.h"
#include "math/activation.h"

dn_status dn_room_reserve(dn_room *room, size_t bytes)
{
    if (bytes <= room->bytes) return DN_OK;
    const size_t doubled = 2 * room->bytes, wanted = bytes > doubled ? bytes : doubled;
    cudaFree(room->block);
    *room = dn_room();
    void *block;
    DN_CUDA_TRY(cudaMalloc(&block, wanted));
    room->block = (char *)block;
    room->bytes = wanted;
    return DN_OK;
}

static dn_status create(dn_paster **out)
{
    dn_paster *paster = (dn_paster *)dn_alloc(sizeof *paster);
    if (!paster) return DN_ERROR_MEMORY;
    *out = paster;
    return DN_OK;
}

static void free_paster(dn_paster *paster)
{
    if (!paster) return;
    dn_staging_wait(&paster->found);
    if (paster->taken) cudaEventDestroy(paster->taken);
    if (paster->stream) cudaStreamDestroy(paster->stream);
    cudaFree(paster->kept.block);
    cudaFree(paster->scratch.block);
    dn_staging_free(&paster->items);
    dn_staging_free(&paster->found);
    dn_free(paster);
}

/* ---- Items ---- */

static size_t mask_bytes(const dn_paster *paster)
{
    return (size_t)paster->count * (size_t)paster->side * (size_t)paster->side * sizeof(float);
}

static size_t items_bytes(const dn_paster *paster)
{
    return (size_t)paster->count * sizeof(dn_paste_item);
}

static float *masks_of(const dn_paster *paster)
{
    return (float *)(void *)paster->kept.block;
}

dn_paste_view dn_paste_view_of(const dn_paster *paster, float threshold)
{
    dn_paste_view view;
    view.items = (const dn_paste_item *)(const void *)paster->items.block;
    view.masks = masks_of(paster);
    view.count = paster->count;
    view.side = paster->side;
    view.threshold = (double)threshold;
    return view;
}

/* An item but for its values; columns of all masks are counted on. */
static dn_paste_item item_of(const dn_mask_job *job, int32_t side, int64_t *columns)
{
    dn_paste_item item = dn_paste_item();
    const dn_box box = job->box;
    item.height = job->height;
    item.width = job->width;
    item.across = {(double)box.x0, (double)box.x1, side};
    item.down = {(double)box.y0, (double)box.y1, side};
    item.start = *columns;
    if (!(box.x1 > box.x0 && box.y1 > box.y0)) return item;
    item.first = dn_paste_first_pixel(item.across, 0, item.width, -1);
    item.last = dn_paste_first_pixel(item.across, item.first, item.width, side);
    if (item.first == item.last) return item;
    item.columns = item.last - item.first + (item.last < item.width);
    *columns += item.columns;
    return item;
}

static dn_paste_item *host_items(const dn_paster *paster)
{
    return (dn_paste_item *)(void *)paster->items.host;
}

/* Strings that nobody came for may still be made of what is written over now. */
static dn_status follow_strings(const dn_paster *paster)
{
    if (paster->found.bytes > 0)
        DN_CUDA_TRY(cudaStreamWaitEvent(cudaStreamPerThread, paster->found.copied, 0));
    return DN_OK;
}

static dn_status begin(dn_paster *paster, int32_t side, const dn_mask_job *jobs, int32_t count)
{
    DN_TRY(follow_strings(paster));
    paster->count = count;
    paster->side = side;
    paster->columns = 0;
    DN_TRY(dn_staging_begin(&paster->items, items_bytes(paster)));
    for (int32_t k = 0; k < count; k++)
        host_items(paster)[k] = item_of(&jobs[k], side, &paster->columns);
    return dn_room_reserve(&paster->kept, mask_bytes(paster));
}

static dn_status send_items(dn_paster *paster)
{
    return paster->count > 0 ? dn_staging_send(&paster->items, items_bytes(paster)) : DN_OK;
}

/* ---- Answers ---- */

static __global__ void gather(const dn_paste_item *items, int32_t cells, float *masks,
                              int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const dn_paste_item &item = items[i / cells];
        float value = NAN;
        if (item.values) value = item.values[i % cells];
        masks[i] = item.values && item.logits ? dn_logistic(value) : value;
    }
}

static dn_status take(dn_paster *paster, const dn_network *network, const dn_mask_job *jobs,
                      int32_t count, bool *done)
{
    const dn_layer *layer = dn_mask_layer_of(network);
    const int32_t cells = layer->out.h * layer->out.w;
    *done = false;
    DN_TRY(begin(paster, layer->out.w, jobs, count));
    for (int32_t k = 0; k < count; k++) {
        const dn_mask_request request = {jobs[k].roi, jobs[k].class_id};
        dn_paste_item *item = &host_items(paster)[k];
        if (request.roi < 0) continue;
        item->values = dn_mask_values_of(layer, network, &request, &item->logits);
        if (!item->values) return DN_OK;
    }
    DN_TRY(send_items(paster));
    DN_LAUNCH(gather, (int64_t)count * cells,
              (const dn_paste_item *)(const void *)paster->items.block, cells, masks_of(paster),
              (int64_t)count * cells);
    DN_CUDA_TRY(cudaGetLastError());
    *done = true;
    return DN_OK;
}

static dn_status give(dn_paster *paster, const float *masks, int32_t side, const dn_mask_job *jobs,
                      int32_t count)
{
    DN_TRY(begin(paster, side, jobs, count));
    DN_TRY(send_items(paster));
    if (count > 0)
        DN_CUDA_TRY(
            cudaMemcpy(masks_of(paster), masks, mask_bytes(paster), cudaMemcpyHostToDevice));
    return DN_OK;
}

static dn_status read(const dn_paster *paster, float *masks)
{
    if (paster->count > 0)
        DN_CUDA_TRY(
            cudaMemcpy(masks, masks_of(paster), mask_bytes(paster), cudaMemcpyDeviceToHost));
    return DN_OK;
}

enum { DN_MEAN_CELLS = 1024 };

/* One block a mask, one thread of which adds the cells in the CPU's order; the others bring them
 * near, since each addition waits for the one before. */
static __global__ void find_means(dn_paste_view view, float *means)
{
    __shared__ float near[DN_MEAN_CELLS];
    const int32_t cells = view.side * view.side;
    DN_BLOCK_STRIDE(k, view.count)
    {
        dn_mask_sum sum = {0.0f, 0};
        for (int32_t first = 0; first < cells; first += DN_MEAN_CELLS) {
            const float *from = view.masks + k * cells + first;
            const int32_t left = cells - first, some = left < DN_MEAN_CELLS ? left : DN_MEAN_CELLS;
            __syncthreads(); /* those before have been added */
            for (int32_t i = (int32_t)threadIdx.x; i < some; i += (int32_t)blockDim.x)
                near[i] = from[i];
            __syncthreads();
            if (threadIdx.x == 0) dn_mask_sum_add(&sum, near, some);
        }
        if (threadIdx.x == 0) means[k] = dn_mask_sum_mean(&sum);
    }
}

dn_status dn_paste_means(const dn_paste_view *view, float *means, cudaStream_t stream)
{
    DN_LAUNCH_BLOCKS_ON(stream, find_means, view->count, *view, means);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

static dn_status bring_means(dn_paster *paster, float *means)
{
    const dn_paste_view view = dn_paste_view_of(paster, 0.5f);
    const size_t bytes = (size_t)paster->count * sizeof *means;
    DN_TRY(dn_room_reserve(&paster->scratch, bytes + 1));
    float *block = (float *)(void *)paster->scratch.block;
    DN_TRY(dn_paste_means(&view, block, cudaStreamPerThread));
    if (bytes > 0) DN_CUDA_TRY(cudaMemcpyAsync(means, block, bytes, cudaMemcpyDeviceToHost));
    return DN_OK;
}

/* ---- Pixels ---- */

static __global__ void paint(dn_paste_view view, int32_t height, int32_t width, uint8_t *pixels,
                             int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const dn_place at = dn_place_of(i, width, height);
        pixels[i] = dn_paste_pixel(view, at.map, at.x, at.y);
    }
}

static dn_status dense(const dn_paster *paster, float threshold, int32_t height, int32_t width,
                       uint8_t *pixels)
{
    const int64_t count = (int64_t)paster->count * height * width;
    DN_LAUNCH(paint, count, dn_paste_view_of(paster, threshold), height, width, pixels, count);
    DN_CUDA_TRY(cudaGetLastError());
    DN_CUDA_TRY(cudaStreamSynchronize(cudaStreamPerThread));
    return DN_OK;
}

const dn_mask_device dn_cuda_mask_device = {
    create, free_paster, take, give, read, dn_paste_encode, dn_paste_text, bring_means, dense,
};
