/* The objects of a pass on the device. See head.h. */
#include "head.h"

/* The block: starts, objects, places; all of them are made of four-byte values. */
static_assert(alignof(dn_head_object) == alignof(int32_t), "they lie behind integers");

static size_t starts_bytes(int32_t images)
{
    return (size_t)(images + 1) * sizeof(int32_t);
}

dn_status dn_cuda_head_reserve(dn_staging *staging, int32_t images, int32_t places)
{
    const size_t object = sizeof(dn_head_object) + (size_t)places * sizeof(int32_t);
    return dn_staging_begin(staging,
                            starts_bytes(images) + (size_t)images * DN_OBJECTS_AN_IMAGE * object);
}

dn_status dn_cuda_head_truth(dn_staging *staging, const dn_layer *layer, const dn_pass *pass,
                             int32_t places, dn_head_truth *truth)
{
    const dn_head_info *info = (const dn_head_info *)layer->state;
    int32_t count = 0;
    for (int32_t image = 0; image < pass->batch; image++) count += pass->truth[image].object_count;
    const size_t head = starts_bytes(pass->batch);
    const size_t sent = head + (size_t)count * sizeof(dn_head_object);
    DN_TRY(dn_staging_begin(staging, sent + (size_t)count * (size_t)places * sizeof(int32_t)));
    int32_t *starts = (int32_t *)(void *)staging->host;
    dn_head_object *objects = (dn_head_object *)(void *)(staging->host + head);
    starts[0] = 0;
    for (int32_t image = 0; image < pass->batch; image++) {
        for (int32_t k = 0; k < pass->truth[image].object_count; k++)
            DN_TRY(dn_head_object_get(info, layer, pass, image, k, objects++));
        starts[image + 1] = starts[image] + pass->truth[image].object_count;
    }
    DN_TRY(dn_staging_send(staging, sent));
    truth->starts = (const int32_t *)(const void *)staging->block;
    truth->objects = (const dn_head_object *)(const void *)(staging->block + head);
    truth->places = (int32_t *)(void *)(staging->block + sent);
    truth->count = count;
    return DN_OK;
}
