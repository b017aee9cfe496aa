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
#include "data/geometry.h"
#include "layers/yolo.h"

#include <math.h>
#include <string.h>

/* One slot of one cell of one image. */
typedef struct dn_place {
    int32_t image, slot, row, column;
} dn_place;

typedef struct dn_sums {
    double box_loss; /* sum of 1 - IoU */
} dn_sums;

int64_t dn_yolo_loss_floats(const dn_layer *layer)
{
    const dn_yolo_state *state = layer->state;
    const dn_tensor *out = &layer->out;
    return out->n * (dn_tensor_size(out) + (int64_t)state->slots * out->h * out->w);
}

static float *gradient_at(const dn_layer *layer, dn_place at)
{
    return dn_yolo_slot(layer, layer->saved, at.image, at.slot) + (int64_t)at.row * layer->out.w +
           at.column;
}

static const float *output_at(const dn_layer *layer, dn_place at)
{
    return dn_yolo_slot(layer, layer->out.data, at.image, at.slot) +
           (int64_t)at.row * layer->out.w + at.column;
}

/* How many objects this place learns so far. */
static float *learned_at(const dn_layer *layer, dn_place at)
{
    const dn_yolo_state *state = layer->state;
    const dn_tensor *out = &layer->out;
    float *learned = layer->saved + out->n * dn_tensor_size(out); /* (n, slots, h, w) */
    const int64_t row = ((int64_t)at.image * state->slots + at.slot) * out->h + at.row;
    return learned + row * out->w + at.column;
}

static dn_box box_at(const dn_layer *layer, const dn_network *network, dn_place at)
{
    return dn_yolo_box(layer, network, dn_yolo_slot(layer, layer->out.data, at.image, at.slot),
                       at.slot, at.row, at.column);
}

static float box_normalizer(const dn_yolo_options *o)
{
    if (o->iou_normalizer >= 0.0f) return o->iou_normalizer;
    return o->iou_loss == DN_BOX_MSE ? 1.0f : 0.75f;
}

static void learn_class(const dn_layer *layer, dn_place at, int32_t class_id, float weight)
{
    const dn_yolo_options *o = layer->options;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    const float *p = output_at(layer, at) + DN_YOLO_CLASSES * plane; /* (classes), plane apart */
    float *gradient = gradient_at(layer, at) + DN_YOLO_CLASSES * plane;
    const float yes = 1.0f - 0.5f * o->label_smooth_eps, no = 0.5f * o->label_smooth_eps;
    const float factor = weight * o->cls_normalizer;
    if (*learned_at(layer, at) > 0.0f) {
        gradient[class_id * plane] = factor * (p[class_id * plane] - yes);
        return;
    }
    const float focal = o->focal_loss ? dn_head_focal_factor(p[class_id * plane]) : 1.0f;
    for (int32_t c = 0; c < o->classes; c++)
        gradient[c * plane] = factor * focal * (p[c * plane] - (c == class_id ? yes : no));
}

static void learn_box_mse(const dn_layer *layer, const dn_network *network, dn_place at,
                          const dn_head_object *object, float weight)
{
    const dn_yolo_options *o = layer->options;
    const dn_yolo_state *state = layer->state;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    const float *anchor = state->anchors + 2 * state->anchor_of_slot[at.slot];
    const float w = object->w * (float)network->input.w / anchor[0];
    const float h = object->h * (float)network->input.h / anchor[1];
    const float target[4] = {object->x * (float)layer->out.w - (float)at.column,
                             object->y * (float)layer->out.h - (float)at.row,
                             o->new_coords ? sqrtf(0.25f * w) : logf(w),
                             o->new_coords ? sqrtf(0.25f * h) : logf(h)};
    const float *out = output_at(layer, at);
    float *gradient = gradient_at(layer, at);
    const float factor = weight * box_normalizer(o) * (2.0f - object->w * object->h);
    for (int32_t k = 0; k < 4; k++) gradient[k * plane] = factor * (out[k * plane] - target[k]);
}

static void learn_box_iou(const dn_layer *layer, dn_place at, dn_box box,
                          const dn_head_object *object, float weight)
{
    const dn_yolo_options *o = layer->options;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    const float *out = output_at(layer, at);
    float *gradient = gradient_at(layer, at);
    double by_box[4];
    dn_box_loss_gradient((dn_box_loss)o->iou_loss, box, object->box, by_box);
    for (int32_t k = 0; k < 4; k++) {
        const bool exponential = k >= 2 && !o->new_coords;
        const double chain = exponential ? exp((double)out[k * plane]) : 1.0;
        const double value = by_box[k] * chain * (double)(weight * box_normalizer(o));
        if (!isfinite(value)) continue;
        const double limit = (double)o->max_delta;
        gradient[k * plane] += (float)fmax(-limit, fmin(limit, value));
    }
}

/* Makes this place learn the object. */
static void learn(dn_layer *layer, const dn_pass *pass, dn_place at, const dn_head_object *object,
                  dn_sums *sums)
{
    const dn_yolo_options *o = layer->options;
    dn_yolo_state *state = layer->state;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    const float weight = state->class_weights ? state->class_weights[object->class_id] : 1.0f;
    const float *out = output_at(layer, at);
    const dn_box box = box_at(layer, pass->network, at);
    const float iou = dn_box_iou(box, object->box);
    const float objectness = out[DN_YOLO_OBJECTNESS * plane];
    gradient_at(layer, at)[DN_YOLO_OBJECTNESS * plane] =
        weight * o->obj_normalizer * (objectness - 1.0f);
    learn_class(layer, at, object->class_id, weight);
    if (o->iou_loss == DN_BOX_MSE)
        learn_box_mse(layer, pass->network, at, object, weight);
    else
        learn_box_iou(layer, at, box, object, weight);
    *learned_at(layer, at) += 1.0f;
    dn_head_statistics_add(&state->info, iou, out[(DN_YOLO_CLASSES + object->class_id) * plane],
                           objectness);
    sums->box_loss +=
        1.0 - (double)(o->iou_loss == DN_BOX_GIOU ? dn_box_giou(box, object->box) : iou);
}

/* Objectness of all boxes of one slot of one image as if none learned an object. */
static void learn_negatives(const dn_layer *layer, const dn_pass *pass, int32_t image, int32_t slot)
{
    const dn_yolo_options *o = layer->options;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    for (int32_t row = 0; row < layer->out.h; row++)
        for (int32_t column = 0; column < layer->out.w; column++) {
            const dn_place at = {image, slot, row, column};
            const dn_box box = box_at(layer, pass->network, at);
            const float objectness = output_at(layer, at)[DN_YOLO_OBJECTNESS * plane];
            int32_t best;
            float in_crowd, target = 0.0f;
            const float iou = dn_head_best_iou(pass, image, box, &best, &in_crowd);
            if (in_crowd > o->ignore_thresh) target = objectness;
            if (iou > o->ignore_thresh) target = o->objectness_smooth ? iou : objectness;
            gradient_at(layer, at)[DN_YOLO_OBJECTNESS * plane] =
                o->obj_normalizer * (objectness - target);
        }
}

/* truth_thresh: boxes that overlap an object that much learn it where they are. */
static dn_status learn_close_boxes(dn_layer *layer, const dn_pass *pass, int32_t image,
                                   dn_sums *sums)
{
    const dn_yolo_options *o = layer->options;
    dn_yolo_state *state = layer->state;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    for (int32_t slot = 0; slot < state->slots; slot++)
        for (int32_t row = 0; row < layer->out.h; row++)
            for (int32_t column = 0; column < layer->out.w; column++) {
                const dn_place at = {image, slot, row, column};
                const dn_box box = box_at(layer, pass->network, at);
                int32_t best;
                float in_crowd;
                const float iou = dn_head_best_iou(pass, image, box, &best, &in_crowd);
                if (!(iou > o->truth_thresh)) continue;
                dn_head_object object;
                bool use;
                DN_TRY(dn_head_object_get(&state->info, layer, pass, image, best, &object, &use));
                if (!use) continue;
                learn(layer, pass, at, &object, sums);
                if (o->objectness_smooth)
                    gradient_at(layer, at)[DN_YOLO_OBJECTNESS * plane] =
                        o->obj_normalizer *
                        (output_at(layer, at)[DN_YOLO_OBJECTNESS * plane] - iou * iou);
            }
    return DN_OK;
}

/* How well the anchor's shape fits the object's, both at the same centre. */
static float shape_fit(const dn_yolo_state *state, const dn_network *network, int32_t anchor,
                       const dn_head_object *object, dn_box_loss kind)
{
    const float *size = state->anchors + 2 * anchor;
    const dn_box a = dn_box_from_centre(0.0f, 0.0f, size[0] / (float)network->input.w,
                                        size[1] / (float)network->input.h);
    const dn_box b = dn_box_from_centre(0.0f, 0.0f, object->w, object->h);
    switch (kind) {
    case DN_BOX_GIOU:
        return dn_box_giou(a, b);
    case DN_BOX_CIOU:
        return dn_box_ciou(a, b);
    case DN_BOX_MSE:
    case DN_BOX_IOU:
    case DN_BOX_DIOU:
        break;
    }
    return dn_box_iou(a, b);
}

static void learn_object(dn_layer *layer, const dn_pass *pass, int32_t image,
                         const dn_head_object *object, dn_sums *sums)
{
    const dn_yolo_options *o = layer->options;
    const dn_yolo_state *state = layer->state;
    int32_t best = 0;
    float most = -1.0f;
    for (int32_t anchor = 0; anchor < o->num; anchor++) {
        const float fit = shape_fit(state, pass->network, anchor, object, DN_BOX_IOU);
        if (fit <= most) continue;
        most = fit;
        best = anchor;
    }
    dn_place at = {image, 0, dn_head_cell(object->y, layer->out.h),
                   dn_head_cell(object->x, layer->out.w)};
    for (; at.slot < state->slots; at.slot++) {
        const int32_t anchor = state->anchor_of_slot[at.slot];
        const bool fits = o->iou_thresh < 1.0f &&
                          shape_fit(state, pass->network, anchor, object,
                                    (dn_box_loss)(DN_BOX_IOU + o->iou_thresh_kind)) > o->iou_thresh;
        if (anchor == best || fits) learn(layer, pass, at, object, sums);
    }
}

/* Adds up one image's squared gradients; boxes of places that learn several objects are averaged
 * first (IoU losses). */
static void finish_image(const dn_layer *layer, int32_t image, double *boxes, double *classes,
                         double *objectness)
{
    const dn_yolo_options *o = layer->options;
    const dn_yolo_state *state = layer->state;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    for (int32_t slot = 0; slot < state->slots; slot++) {
        const dn_place start = {image, slot, 0, 0};
        const float *learned = learned_at(layer, start); /* (h, w) */
        float *gradient = gradient_at(layer, start);     /* (5 + classes, h, w) */
        for (int64_t cell = 0; cell < plane; cell++) {
            const double g = (double)gradient[DN_YOLO_OBJECTNESS * plane + cell];
            *objectness += g * g;
            if (learned[cell] == 0.0f) continue;
            for (int32_t k = 0; k < DN_YOLO_CLASSES + o->classes; k++) {
                if (k == DN_YOLO_OBJECTNESS) continue;
                float *value = gradient + k * plane + cell;
                if (k < 4 && o->iou_loss != DN_BOX_MSE) *value /= learned[cell];
                *(k < 4 ? boxes : classes) += (double)*value * (double)*value;
            }
        }
    }
}

static double mean_objectness_sum(const dn_layer *layer, const dn_pass *pass)
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

static void finish(dn_layer *layer, const dn_pass *pass, const dn_sums *sums)
{
    const dn_yolo_options *o = layer->options;
    dn_yolo_state *state = layer->state;
    dn_head_statistics *statistics = &state->info.statistics;
    double boxes = 0, classes = 0, objectness = 0;
    for (int32_t image = 0; image < pass->batch; image++)
        finish_image(layer, image, &boxes, &classes, &objectness);
    if (o->iou_loss != DN_BOX_MSE) {
        const double count = statistics->count > 0 ? (double)statistics->count : 1.0;
        boxes = (double)box_normalizer(o) * sums->box_loss / count;
        classes *= (double)o->obj_normalizer;
        objectness *= (double)o->obj_normalizer;
    }
    layer->loss = (boxes + classes + objectness) / pass->batch;
    statistics->box_loss = boxes / pass->batch;
    statistics->class_loss = classes / pass->batch;
    const int64_t all = (int64_t)pass->batch * state->slots * layer->out.h * layer->out.w;
    dn_head_statistics_finish(&state->info, mean_objectness_sum(layer, pass), all);
}

dn_status dn_yolo_loss(dn_layer *layer, const dn_pass *pass)
{
    const dn_yolo_options *o = layer->options;
    dn_yolo_state *state = layer->state;
    dn_sums sums = {0};
    memset(layer->saved, 0, (size_t)dn_yolo_loss_floats(layer) * sizeof *layer->saved);
    memset(&state->info.statistics, 0, sizeof state->info.statistics);
    layer->loss = 0;
    if (!pass->truth) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int32_t k = 0; k < pass->batch * state->slots; k++)
        learn_negatives(layer, pass, k / state->slots, k % state->slots);
    for (int32_t image = 0; image < pass->batch; image++) {
        if (o->truth_thresh < 1.0f) DN_TRY(learn_close_boxes(layer, pass, image, &sums));
        for (int32_t k = 0; k < pass->truth[image].object_count; k++) {
            dn_head_object object;
            bool use;
            DN_TRY(dn_head_object_get(&state->info, layer, pass, image, k, &object, &use));
            if (use) learn_object(layer, pass, image, &object, &sums);
        }
    }
    finish(layer, pass, &sums);
    return DN_OK;
}
