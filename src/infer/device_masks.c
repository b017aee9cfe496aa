/* Masks in the memory of a GPU, by themselves: see "arrays on a GPU" in darknet.h.
 *
 * A paster of the device and the size of the image; that of a network's result goes back to its
 * pool. Every call but the freeing makes the device the calling thread's.
 */
#include "core/memory.h"
#include "core/paster_pool.h"
#include "data/rle.h"
#include "infer/device_array.h"
#include "infer/predict.h"

#include <string.h>

struct dn_device_masks {
    const dn_backend *backend;
    int32_t device, count, side, height, width;
    dn_paster *paster;
    dn_paster_pool *pool; /* that it goes back to, or NULL */
};

dn_status dn_device_masks_of(const dn_network *network, dn_paster *paster, const dn_result *result,
                             dn_device_masks **out)
{
    dn_device_masks *masks = dn_alloc(sizeof *masks);
    if (!masks) return DN_ERROR_MEMORY;
    *masks = (dn_device_masks){network->backend,
                               network->device,
                               result->instance_count,
                               result->mask_size,
                               result->height,
                               result->width,
                               paster,
                               network->pasters};
    *out = masks;
    return DN_OK;
}

void dn_device_masks_free(dn_device_masks *masks)
{
    if (!masks) return;
    if (masks->pool)
        dn_paster_pool_give_back(masks->pool, masks->paster);
    else
        masks->backend->masks->free(masks->paster);
    dn_free(masks);
}

/* Has the paster hold them. */
static dn_status fill(const dn_device_masks *masks, const float *values, const dn_box *boxes)
{
    dn_mask_job *jobs = dn_alloc((size_t)masks->count * sizeof *jobs);
    if (!jobs) return DN_ERROR_MEMORY;
    for (int32_t i = 0; i < masks->count; i++)
        jobs[i] = (dn_mask_job){
            .roi = -1, .box = boxes[i], .height = masks->height, .width = masks->width};
    dn_status status =
        masks->backend->masks->give(masks->paster, values, masks->side, jobs, masks->count);
    /* other threads' streams know nothing of this one's */
    if (status == DN_OK) status = masks->backend->synchronise();
    dn_free(jobs);
    return status;
}

dn_status dn_device_masks_create(const char *device, const float *masks, int32_t side,
                                 const dn_box *boxes, int32_t count, int32_t height, int32_t width,
                                 dn_device_masks **out)
{
    dn_device_masks made = {.side = side, .count = count, .height = height, .width = width};
    DN_TRY(dn_rle_check_size("masks", height, width));
    for (int32_t i = 0; i < count; i++) DN_TRY(dn_paste_check(side, boxes[i], 1));
    DN_TRY(dn_backend_open(device, &made.backend, &made.device));
    if (!made.backend->masks)
        return dn_fail(DN_ERROR_DEVICE, "masks on a GPU: the device is %s", made.backend->name);
    dn_device_masks *moved = dn_alloc(sizeof *moved);
    if (!moved) return DN_ERROR_MEMORY;
    dn_status status = made.backend->masks->create(&made.paster);
    if (status != DN_OK) {
        dn_free(moved);
        return status;
    }
    *moved = made;
    status = fill(moved, masks, boxes);
    if (status == DN_OK)
        *out = moved;
    else
        dn_device_masks_free(moved);
    return status;
}

dn_status dn_device_masks_read(const dn_device_masks *masks, float *out)
{
    DN_TRY(masks->backend->select(masks->device));
    return masks->backend->masks->read(masks->paster, out);
}

dn_status dn_device_masks_encode(dn_device_masks *masks, float threshold, char **text,
                                 size_t *length)
{
    const char *made;
    const float *means;
    size_t bytes;
    DN_TRY(dn_paste_check(masks->side, (dn_box){0}, threshold));
    DN_TRY(masks->backend->select(masks->device));
    DN_TRY(masks->backend->masks->encode(masks->paster, threshold));
    DN_TRY(masks->backend->masks->text(masks->paster, &made, &bytes, &means));
    char *copy = dn_alloc(bytes);
    if (!copy) return DN_ERROR_MEMORY;
    memcpy(copy, made, bytes);
    *text = copy;
    *length = bytes;
    return DN_OK;
}

dn_status dn_device_masks_paste(const dn_device_masks *masks, float threshold,
                                dn_device_array **out)
{
    const dn_device_array_info info = {.device = masks->device,
                                       .kind = 'b',
                                       .item_size = 1,
                                       .axes = 3,
                                       .shape = {masks->count, masks->height, masks->width}};
    dn_device_array *made;
    DN_TRY(dn_paste_check(masks->side, (dn_box){0}, threshold));
    DN_TRY(masks->backend->select(masks->device));
    DN_TRY(dn_device_array_make(masks->backend, &info, &made));
    const dn_status status = masks->backend->masks->dense(masks->paster, threshold, masks->height,
                                                          masks->width, dn_device_array_data(made));
    if (status == DN_OK)
        *out = made;
    else
        dn_device_array_release(made);
    return status;
}
