/* [region] on CUDA; boxes, targets and gradients: math/region.h, the same as on the CPU.
 *
 * As in yolo.cu: the objects come from the host in one copy, each object's anchor and cell are
 * found, then every place does by itself, in the objects' order, all that it learns.
 */
#include "decode.h"
#include "head.h"
#include "records.h"

#include "layers/region.h"
#include "math/activation.h"

#include <stdlib.h>
#include <string.h>

typedef struct dn_region_device {
    dn_decoder decoder; /* first: see decode.h */
    dn_staging truth;
    dn_staging anchors;
    dn_region_head head; /* points to the anchors on the device */
} dn_region_device;

static int32_t threads_an_image(const dn_region_head *head)
{
    return dn_head_threads(head->num * head->h * head->w);
}

static dn_status find_boxes(const dn_layer *layer, const dn_pass *pass, float threshold)
{
    dn_region_device *device = (dn_region_device *)layer->device;
    return dn_decode_start(&device->decoder, &device->head, device->head.num, layer, pass,
                           threshold);
}

static dn_status setup(dn_layer *layer, dn_network *)
{
    const dn_region_state *state = (const dn_region_state *)layer->state;
    if (!layer->device) layer->device = calloc(1, sizeof(dn_region_device));
    dn_region_device *device = (dn_region_device *)layer->device;
    if (!device) return DN_ERROR_MEMORY;
    device->decoder.start = find_boxes;
    const size_t anchors = 2 * (size_t)state->head.num * sizeof(float);
    DN_TRY(dn_staging_begin(&device->anchors, anchors));
    memcpy(device->anchors.host, state->anchors, anchors);
    DN_TRY(dn_staging_send(&device->anchors, anchors));
    device->head = state->head;
    device->head.anchors = (const float *)(const void *)device->anchors.block;
    DN_TRY(dn_decode_reserve(&device->decoder, layer->out.n, device->head.num, &device->head));
    if (!layer->trains) return DN_OK;
    layer->workspace_floats =
        dn_records_floats(layer->out.n * (int64_t)threads_an_image(&state->head), DN_HEAD_SUMS);
    return dn_cuda_head_reserve(&device->truth, layer->out.n, 1);
}

static void destroy(dn_layer *layer)
{
    dn_region_device *device = (dn_region_device *)layer->device;
    if (!device) return;
    dn_staging_free(&device->truth);
    dn_decode_free(&device->decoder);
    dn_staging_free(&device->anchors);
    free(device);
    layer->device = nullptr;
}

static __global__ void activate(dn_region_head head, const float *in, float *out, int64_t count)
{
    const int32_t plane = head.h * head.w;
    DN_GRID_STRIDE(i, count) {
        const int32_t entry = (int32_t)(i / plane % (DN_REGION_CLASSES + head.classes));
        const bool size = entry == DN_REGION_W || entry == DN_REGION_H;
        if (entry >= DN_REGION_CLASSES && head.softmax) continue;
        out[i] = size ? in[i] : dn_logistic(in[i]);
    }
}

/* Of every anchor of every cell. */
static __global__ void activate_classes(dn_region_head head, const float *in, float *out,
                                        int64_t count)
{
    const int64_t plane = (int64_t)head.h * head.w;
    DN_GRID_STRIDE(i, count) {
        const int64_t anchor = i / plane, cell = i - anchor * plane;
        const int64_t start =
            (anchor * (DN_REGION_CLASSES + head.classes) + DN_REGION_CLASSES) * plane + cell;
        dn_region_softmax(in + start, out + start, head.classes, plane);
    }
}

/* Places of an image from its first anchor's first cell on. */
static __global__ void find_places(dn_region_head head, dn_head_truth truth, const float *out,
                                   int32_t images)
{
    const int32_t plane = head.h * head.w;
    const int64_t size = (int64_t)head.num * (DN_REGION_CLASSES + head.classes) * plane;
    DN_GRID_STRIDE(k, truth.count) {
        const dn_head_object *object = &truth.objects[k];
        int32_t image = 0;
        while (image + 1 < images && truth.starts[image + 1] <= k) image++;
        const int64_t cell = dn_region_cell(&head, object);
        const int32_t anchor = dn_region_best_anchor(&head, out + image * size, cell, object);
        truth.places[k] = object->usable ? anchor * plane + (int32_t)cell : -1;
    }
}

/* What one place, the `place`-th of its image, learns; the image's objects are first..last-1. */
static __device__ void learn_place(const dn_region_head *head, const dn_head_truth *truth,
                                   int32_t first, int32_t last, int32_t place, bool warm_up,
                                   dn_region_place at, dn_head_sums *sums)
{
    const int64_t plane = (int64_t)head->h * head->w;
    const dn_box box = dn_region_box_at(head, at);
    dn_region_learn_negative(head, at, dn_head_overlap_on(truth, first, last, box), warm_up);
    for (int32_t k = first; k < last; k++)
        if (truth->places[k] == place) dn_region_learn(head, at, &truth->objects[k], sums);
    for (int32_t entry = 0; entry < DN_REGION_CLASSES + head->classes; entry++)
        dn_region_add_square(entry, at.gradient[entry * plane], sums);
    sums->no_objectness += (double)at.out[DN_REGION_OBJECTNESS * plane];
}

/* records (images, per_image): what a thread's places learn. */
static __global__ void learn(dn_region_head head, dn_head_truth truth, bool warm_up,
                             const float *out, float *gradients, int32_t per_image,
                             dn_head_sums *records, int64_t count)
{
    const int32_t plane = head.h * head.w, places = head.num * plane;
    const int64_t anchor_size = (int64_t)(DN_REGION_CLASSES + head.classes) * plane;
    DN_GRID_STRIDE(t, count) {
        const int32_t image = (int32_t)(t / per_image);
        dn_head_sums sums = dn_head_sums();
        for (int32_t k = (int32_t)(t - (int64_t)image * per_image); k < places; k += per_image) {
            const int32_t anchor = k / plane, cell = k - anchor * plane;
            const int64_t start = ((int64_t)image * head.num + anchor) * anchor_size + cell;
            const dn_region_place at = {anchor, cell, out + start, gradients + start};
            learn_place(&head, &truth, truth.starts[image], truth.starts[image + 1], k, warm_up, at,
                        &sums);
        }
        records[t] = sums;
    }
}

static dn_status find_loss(dn_layer *layer, const dn_pass *pass)
{
    dn_region_device *device = (dn_region_device *)layer->device;
    const dn_region_head *head = &device->head;
    const int32_t per_image = threads_an_image(head);
    const int64_t threads = (int64_t)pass->batch * per_image;
    dn_head_sums *records = (dn_head_sums *)(void *)pass->workspace, sums;
    dn_head_truth truth;
    DN_CUDA_TRY(
        cudaMemsetAsync(layer->saved, 0, (size_t)layer->saved_floats * sizeof *layer->saved));
    dn_region_set_loss(layer, pass, nullptr);
    if (!pass->truth) return DN_OK;
    DN_TRY(dn_cuda_head_truth(&device->truth, layer, pass, 1, &truth));
    DN_LAUNCH(find_places, truth.count, *head, truth, layer->out.data, pass->batch);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(learn, threads, *head, truth, dn_region_warms_up(pass), layer->out.data, layer->saved,
              per_image, records, threads);
    DN_CUDA_TRY(cudaGetLastError());
    DN_TRY(dn_records_sum(&records->count, threads, DN_HEAD_SUMS, &sums.count));
    dn_region_set_loss(layer, pass, &sums);
    return DN_OK;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    dn_region_device *device = (dn_region_device *)layer->device;
    const dn_region_head *head = &device->head;
    const float *in = dn_input(layer, pass, 0)->data;
    const int64_t count = pass->batch * dn_tensor_size(&layer->out);
    const int64_t places = (int64_t)pass->batch * head->num * head->h * head->w;
    DN_LAUNCH(activate, count, *head, in, layer->out.data, count);
    DN_CUDA_TRY(cudaGetLastError());
    if (head->softmax) DN_LAUNCH(activate_classes, places, *head, in, layer->out.data, places);
    DN_CUDA_TRY(cudaGetLastError());
    DN_TRY(dn_decode_ahead(layer, pass));
    return pass->training ? find_loss(layer, pass) : DN_OK;
}

static __global__ void add_gradient(float factor, const float *gradient, float *grad, int64_t count)
{
    DN_GRID_STRIDE(i, count) grad[i] += factor * gradient[i];
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    float *grad = dn_input(layer, pass, 0)->grad;
    const int64_t count = pass->batch * dn_tensor_size(&layer->out);
    if (!grad) return DN_OK;
    DN_LAUNCH(add_gradient, count, pass->network->loss_scale, layer->saved, grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_region_cuda = {forward, backward, setup, destroy, dn_decode_detect};
