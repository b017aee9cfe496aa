/* The loss of [yolo]: which box learns what, and the gradients. See yolo.c for the layout.
 *
 * Targets as Darknet chooses them. Every box is a negative (objectness -> 0) unless its best IoU
 * with an object exceeds ignore_thresh, or that share of it lies in a crowd. An object is learned
 * in the cell of its centre by the anchor whose shape fits it best, if this head has it, and with
 * iou_thresh < 1 by all anchors here that fit better than iou_thresh. The box there aims at
 * objectness 1, the object's class and its place. A second object in the same place adds its class;
 * its box replaces the first one's (mse), or both pull (IoU losses, divided by their number).
 *
 * Gradients are Darknet's deltas negated, prediction - target: of the binary cross-entropy by the
 * logit for objectness, classes, x and y, and of the squared error for w and h; box coordinates
 * are weighted by 2 - (relative area). IoU losses take dL/d(box) of box_loss.h for 1 - IoU (GIoU,
 * DIoU, CIoU) relative to the input, with Darknet's chain to the layer's input: x and y as they
 * are, w and h times e^w' (new_coords: as they are). Without the logistic's slope, 1 / w and the
 * anchor's size they are larger than the true ones, which is what published iou_normalizer and
 * max_delta are made for. Unlike AlexeyAB's code: sizes get dL/dw (half of his), the derivatives of
 * DIoU's and CIoU's terms are the true ones, cls_normalizer always counts, the ignore test looks at
 * no class.
 *
 * Loss of an image, as Darknet prints it: mse: the sum of all squared gradients; IoU losses:
 * iou_normalizer * mean(1 - IoU, or GIoU) + obj_normalizer * (the sum without boxes), divided by
 * the batch.
 */
#include "layers/yolo.h"

#include <string.h>

int64_t dn_yolo_loss_floats(const dn_layer *layer)
{
    const dn_yolo_state *state = layer->state;
    const dn_tensor *out = &layer->out;
    return out->n * (dn_tensor_size(out) + (int64_t)state->slots * out->h * out->w);
}

static dn_yolo_place place_of(const dn_layer *layer, int32_t image, int32_t slot, int32_t row,
                              int32_t column)
{
    const dn_yolo_state *state = layer->state;
    const dn_tensor *out = &layer->out;
    const int64_t plane = (int64_t)out->h * out->w, cell = (int64_t)row * out->w + column;
    float *learned = layer->saved + out->n * dn_tensor_size(out); /* (n, slots, h, w) */
    return (dn_yolo_place){
        .slot = slot,
        .row = row,
        .column = column,
        .out = dn_yolo_slot(layer, out->data, image, slot) + cell,
        .gradient = dn_yolo_slot(layer, layer->saved, image, slot) + cell,
        .learned = learned + ((int64_t)image * state->slots + slot) * plane + cell,
    };
}

/* Objectness of all boxes of one slot of one image as if none learned an object. */
static void learn_negatives(const dn_layer *layer, const dn_pass *pass, int32_t image, int32_t slot)
{
    const dn_yolo_state *state = layer->state;
    for (int32_t row = 0; row < layer->out.h; row++)
        for (int32_t column = 0; column < layer->out.w; column++) {
            const dn_yolo_place at = place_of(layer, image, slot, row, column);
            const dn_box box = dn_yolo_box_at(&state->head, at);
            dn_yolo_learn_negative(&state->head, at, dn_head_overlap_of(pass, image, box));
        }
}

static dn_status learn_close_boxes(const dn_layer *layer, const dn_pass *pass, int32_t image,
                                   dn_head_sums *sums)
{
    const dn_yolo_state *state = layer->state;
    const dn_yolo_head *head = &state->head;
    for (int32_t slot = 0; slot < state->slots; slot++)
        for (int32_t row = 0; row < layer->out.h; row++)
            for (int32_t column = 0; column < layer->out.w; column++) {
                const dn_yolo_place at = place_of(layer, image, slot, row, column);
                const dn_head_overlap overlap =
                    dn_head_overlap_of(pass, image, dn_yolo_box_at(head, at));
                if (!(overlap.iou > head->truth_thresh)) continue;
                dn_head_object object;
                DN_TRY(dn_head_object_get(&state->info, layer, pass, image, overlap.best, &object));
                if (object.usable) dn_yolo_learn_close(head, at, &object, overlap.iou, sums);
            }
    return DN_OK;
}

static void learn_object(const dn_layer *layer, int32_t image, const dn_head_object *object,
                         dn_head_sums *sums)
{
    const dn_yolo_state *state = layer->state;
    const dn_yolo_head *head = &state->head;
    const int32_t best = dn_yolo_best_anchor(head, object);
    const int32_t row = dn_head_cell(object->y, head->h), column = dn_head_cell(object->x, head->w);
    for (int32_t slot = 0; slot < head->slots; slot++)
        if (dn_yolo_slot_learns(head, object, slot, best))
            dn_yolo_learn(head, place_of(layer, image, slot, row, column), object, sums);
}

static void finish_image(const dn_layer *layer, int32_t image, dn_head_sums *sums)
{
    const dn_yolo_state *state = layer->state;
    for (int32_t slot = 0; slot < state->slots; slot++)
        for (int32_t row = 0; row < layer->out.h; row++)
            for (int32_t column = 0; column < layer->out.w; column++)
                dn_yolo_finish_place(&state->head, place_of(layer, image, slot, row, column), sums);
}

static double objectness_sum(const dn_layer *layer, const dn_pass *pass)
{
    const dn_yolo_state *state = layer->state;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    double sum = 0;
    for (int32_t image = 0; image < pass->batch; image++)
        for (int32_t slot = 0; slot < state->slots; slot++) {
            const float *objectness =
                dn_yolo_slot(layer, layer->out.data, image, slot) + DN_YOLO_OBJECTNESS * plane;
            for (int64_t cell = 0; cell < plane; cell++) sum += (double)objectness[cell];
        }
    return sum;
}

void dn_yolo_set_loss(dn_layer *layer, const dn_pass *pass, const dn_head_sums *sums)
{
    dn_yolo_state *state = layer->state;
    const dn_yolo_head *head = &state->head;
    layer->loss = 0;
    state->info.statistics = (dn_head_statistics){0};
    if (!sums) return;
    double boxes = sums->boxes, classes = sums->classes, objectness = sums->objectness_squares;
    if (head->iou_loss != DN_BOX_MSE) {
        const double count = sums->count > 0 ? sums->count : 1.0;
        boxes = (double)head->box_normalizer * sums->box_loss / count;
        classes *= (double)head->obj_normalizer;
        objectness *= (double)head->obj_normalizer;
    }
    layer->loss = (boxes + classes + objectness) / pass->batch;
    dn_head_statistics_set(&state->info, sums,
                           (int64_t)pass->batch * head->slots * head->h * head->w);
    state->info.statistics.box_loss = boxes / pass->batch;
    state->info.statistics.class_loss = classes / pass->batch;
}

dn_status dn_yolo_loss(dn_layer *layer, const dn_pass *pass)
{
    const dn_yolo_state *state = layer->state;
    dn_head_sums sums = {0};
    memset(layer->saved, 0, (size_t)dn_yolo_loss_floats(layer) * sizeof *layer->saved);
    dn_yolo_set_loss(layer, pass, NULL);
    if (!pass->truth) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int32_t k = 0; k < pass->batch * state->slots; k++)
        learn_negatives(layer, pass, k / state->slots, k % state->slots);
    for (int32_t image = 0; image < pass->batch; image++) {
        if (state->head.truth_thresh < 1.0f) DN_TRY(learn_close_boxes(layer, pass, image, &sums));
        for (int32_t k = 0; k < pass->truth[image].object_count; k++) {
            dn_head_object object;
            DN_TRY(dn_head_object_get(&state->info, layer, pass, image, k, &object));
            if (object.usable) learn_object(layer, image, &object, &sums);
        }
    }
    for (int32_t image = 0; image < pass->batch; image++) finish_image(layer, image, &sums);
    sums.no_objectness = objectness_sum(layer, pass);
    dn_yolo_set_loss(layer, pass, &sums);
    return DN_OK;
}
