/* [yolo] on CUDA; boxes, targets and gradients: math/yolo.h, the same as on the CPU.
 *
 * The objects of the batch come from the host in one small copy. Which cell of which slot learns an
 * object is found first, one thread an object and slot; then one thread a few boxes does for each
 * all that the CPU does in three rounds: the negative, the object that overlaps it much, and in
 * their order the objects that it learns. So places are independent of each other and two objects
 * meet in one place as on the CPU. Loss and statistics are sums of fixed order (records.h); they
 * come back to the host in one copy a head.
 */
#include "decode.h"
#include "head.h"
#include "place.h"
#include "records.h"

#include "layers/yolo.h"
#include "math/activation.h"

#include <stdlib.h>
#include <string.h>

typedef struct dn_yolo_device {
    dn_decoder decoder; /* first: see decode.h */
    dn_staging truth;
    dn_staging constants; /* what the pointers of `head` lead to */
    dn_yolo_head head;
} dn_yolo_device;

static int32_t threads_an_image(const dn_yolo_head *head)
{
    return dn_head_threads(head->slots * head->h * head->w);
}

/* device->head = the state's with its arrays on the device. */
static dn_status set_head(const dn_yolo_state *state, dn_yolo_device *device)
{
    dn_yolo_head *head = &device->head;
    *head = state->head;
    const size_t anchors = 2 * (size_t)head->num * sizeof(float);
    const size_t slots = (size_t)head->slots * sizeof(int32_t);
    const size_t weights = head->class_weights ? (size_t)head->classes * sizeof(float) : 0;
    DN_TRY(dn_staging_begin(&device->constants, anchors + slots + weights));
    char *host = device->constants.host, *block = device->constants.block;
    memcpy(host, head->anchors, anchors);
    memcpy(host + anchors, head->anchor_of_slot, slots);
    if (weights > 0) memcpy(host + anchors + slots, head->class_weights, weights);
    DN_TRY(dn_staging_send(&device->constants, anchors + slots + weights));
    head->anchors = (const float *)(const void *)block;
    head->anchor_of_slot = (const int32_t *)(const void *)(block + anchors);
    if (weights > 0) head->class_weights = (const float *)(const void *)(block + anchors + slots);
    return DN_OK;
}

static dn_status find_boxes(const dn_layer *layer, const dn_pass *pass, float threshold)
{
    dn_yolo_device *device = (dn_yolo_device *)layer->device;
    return dn_decode_start(&device->decoder, &device->head, device->head.slots, layer, pass,
                           threshold);
}

static dn_status setup(dn_layer *layer, dn_network *)
{
    const dn_yolo_state *state = (const dn_yolo_state *)layer->state;
    if (!layer->device) layer->device = calloc(1, sizeof(dn_yolo_device));
    dn_yolo_device *device = (dn_yolo_device *)layer->device;
    if (!device) return DN_ERROR_MEMORY;
    device->decoder.start = find_boxes;
    DN_TRY(set_head(state, device));
    DN_TRY(dn_decode_reserve(&device->decoder, layer->out.n, device->head.slots, &device->head));
    if (!layer->trains) return DN_OK;
    layer->workspace_floats =
        dn_records_floats(layer->out.n * (int64_t)threads_an_image(&state->head), DN_HEAD_SUMS);
    return dn_cuda_head_reserve(&device->truth, layer->out.n, state->slots);
}

static void destroy(dn_layer *layer)
{
    dn_yolo_device *device = (dn_yolo_device *)layer->device;
    if (!device) return;
    dn_staging_free(&device->truth);
    dn_decode_free(&device->decoder);
    dn_staging_free(&device->constants);
    free(device);
    layer->device = nullptr;
}

static __global__ void activate(dn_yolo_head head, const float *in, float *out, int64_t count)
{
    const int32_t plane = head.h * head.w;
    dn_await_and_release();
    DN_GRID_STRIDE(i, count) {
        const int32_t entry = dn_place_of(i, plane, DN_YOLO_CLASSES + head.classes).y;
        const bool squashes = dn_yolo_squashes(head.new_coords, entry);
        out[i] = dn_yolo_output(head.scale_x_y, entry, squashes ? dn_logistic(in[i]) : in[i]);
    }
}

/* truth.places (objects, slots) = the cell in which the slot learns the object, -1: none. */
static __global__ void find_places(dn_yolo_head head, dn_head_truth truth, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const int32_t slot = (int32_t)(i % head.slots);
        const dn_head_object *object = &truth.objects[i / head.slots];
        const bool learns =
            object->usable &&
            dn_yolo_slot_learns(&head, object, slot, dn_yolo_best_anchor(&head, object));
        truth.places[i] =
            learns ? dn_head_cell(object->y, head.h) * head.w + dn_head_cell(object->x, head.w)
                   : -1;
    }
}

/* What one place learns; the objects of its image are first..last-1. */
static __device__ void learn_place(const dn_yolo_head *head, const dn_head_truth *truth,
                                   int32_t first, int32_t last, dn_yolo_place at,
                                   dn_head_sums *sums)
{
    const int32_t cell = at.row * head->w + at.column;
    const dn_head_overlap overlap =
        dn_head_overlap_on(truth, first, last, dn_yolo_box_at(head, at));
    dn_yolo_learn_negative(head, at, overlap);
    if (head->truth_thresh < 1.0f && overlap.iou > head->truth_thresh &&
        truth->objects[first + overlap.best].usable)
        dn_yolo_learn_close(head, at, &truth->objects[first + overlap.best], overlap.iou, sums);
    for (int32_t k = first; k < last; k++)
        if (truth->places[k * head->slots + at.slot] == cell)
            dn_yolo_learn(head, at, &truth->objects[k], sums);
    dn_yolo_finish_place(head, at, sums);
    sums->no_objectness += (double)at.out[(int64_t)DN_YOLO_OBJECTNESS * head->h * head->w];
}

/* records (images, per_image): what a thread's places learn. */
static __global__ void learn(dn_yolo_head head, dn_head_truth truth, const float *out,
                             float *gradients, float *learned, int32_t per_image,
                             dn_head_sums *records, int64_t count)
{
    const int32_t plane = head.h * head.w, places = head.slots * plane;
    const int64_t slot_size = (int64_t)(DN_YOLO_CLASSES + head.classes) * plane;
    DN_GRID_STRIDE(t, count) {
        const int32_t image = (int32_t)(t / per_image);
        dn_head_sums sums = dn_head_sums();
        for (int32_t k = (int32_t)(t - (int64_t)image * per_image); k < places; k += per_image) {
            const int32_t slot = k / plane, cell = k - slot * plane, row = cell / head.w;
            const int64_t start = ((int64_t)image * head.slots + slot) * slot_size + cell;
            const dn_yolo_place at = {slot,
                                      row,
                                      cell - row * head.w,
                                      out + start,
                                      gradients + start,
                                      learned + (int64_t)image * places + k};
            learn_place(&head, &truth, truth.starts[image], truth.starts[image + 1], at, &sums);
        }
        records[t] = sums;
    }
}

static dn_status find_loss(dn_layer *layer, const dn_pass *pass)
{
    dn_yolo_device *device = (dn_yolo_device *)layer->device;
    const dn_yolo_head *head = &device->head;
    const int32_t per_image = threads_an_image(head);
    const int64_t threads = (int64_t)pass->batch * per_image;
    float *learned = layer->saved + layer->out.n * dn_tensor_size(&layer->out);
    dn_head_sums *records = (dn_head_sums *)(void *)pass->workspace, sums;
    dn_head_truth truth;
    DN_CUDA_TRY(cudaMemsetAsync(layer->saved, 0,
                                (size_t)dn_yolo_loss_floats(layer) * sizeof *layer->saved));
    dn_yolo_set_loss(layer, pass, nullptr);
    if (!pass->truth) return DN_OK;
    DN_TRY(dn_cuda_head_truth(&device->truth, layer, pass, head->slots, &truth));
    DN_LAUNCH(find_places, (int64_t)truth.count * head->slots, *head, truth,
              (int64_t)truth.count * head->slots);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(learn, threads, *head, truth, layer->out.data, layer->saved, learned, per_image,
              records, threads);
    DN_CUDA_TRY(cudaGetLastError());
    DN_TRY(dn_records_sum(&records->count, threads, DN_HEAD_SUMS, &sums.count));
    dn_yolo_set_loss(layer, pass, &sums);
    return DN_OK;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    dn_yolo_device *device = (dn_yolo_device *)layer->device;
    const int64_t count = pass->batch * dn_tensor_size(&layer->out);
    DN_FOLLOW(activate, count, device->head, dn_input(layer, pass, 0)->data, layer->out.data,
              count);
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
    const dn_yolo_options *o = (const dn_yolo_options *)layer->options;
    float *grad = dn_input(layer, pass, 0)->grad;
    const int64_t count = pass->batch * dn_tensor_size(&layer->out);
    if (!grad) return DN_OK;
    DN_LAUNCH(add_gradient, count, o->delta_normalizer * pass->network->loss_scale, layer->saved,
              grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_yolo_cuda = {forward, backward, setup, destroy, dn_decode_detect};
