/* [yolo]: YOLOv3's detection head and its descendants'.
 *
 * Input (n, slots * (5 + classes), h, w): per anchor slot the planes x, y, w, h, objectness and one
 * a class. Output: the same with the logistic of x, y, objectness and classes, x and y stretched
 * about their middle by scale_x_y (Bochkovskiy et al. 2020); new_coords (YOLOv4-CSP, YOLOv7) takes
 * them as they are, since the convolution before has activation=logistic. A box of cell (i, j) with
 * anchor (pw, ph) in pixels of the W x H input, relative to it:
 *     x = (i + x') / w,  y = (j + y') / h,  width = e^w' pw / W   (new_coords: 4 w'^2 pw / W).
 * Loss: yolo_loss.c; which boxes there are: yolo_detect.c. Boxes carry no gradient to what follows.
 *
 * In inference on the CPU nearly all of the output would be made for nothing: boxes are read from
 * the input, and the output is made when somebody asks for it (`complete`).
 */
#include "layers/yolo.h"

#include "core/memory.h"
#include "math/activation.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const iou_kinds[] = {"mse", "iou", "giou", "diou", "ciou", NULL};
static const char *const iou_thresh_kinds[] = {"iou", "giou", "diou", "ciou", NULL};
static const char *const nms_kinds[] = {"default", "greedynms", "diounms", NULL};

#define S dn_yolo_options
static const dn_option options[] = {
    DN_INT(S, classes, "classes", 20, 1, 65536, "classes"),
    DN_INT(S, num, "num", 1, 1, 1024, "anchors of all heads, as listed in `anchors`"),
    DN_INTS(S, mask, "mask", 0, 1023, "this head's anchors; default: all"),
    DN_FLOATS(S, anchors, "anchors", 1e-6, 1e6, "width, height pairs in network pixels"),
    DN_FLOAT(S, ignore_thresh, "ignore_thresh", .5, 0, 1e6,
             "a box with a larger IoU to an object is no negative"),
    DN_FLOAT(S, truth_thresh, "truth_thresh", 1, 0, 1e6,
             "a box with a larger IoU to an object is a positive; 1: none"),
    DN_TEXT(S, map, "map", "file with one number a line: what each label class becomes"),
    DN_FLOAT(S, scale_x_y, "scale_x_y", 1, .1, 10, "stretch of x and y about the cell's middle"),
    DN_FLAG(S, new_coords, "new_coords", 0, "no logistic here, sizes by square instead of e^w"),
    DN_CHOICE(S, iou_loss, "iou_loss", DN_BOX_MSE, iou_kinds, "loss of boxes"),
    DN_CHOICE(S, iou_thresh_kind, "iou_thresh_kind", 0, iou_thresh_kinds,
              "measure of anchor and object that iou_thresh is held against"),
    DN_FLOAT(S, iou_thresh, "iou_thresh", 1, 0, 1,
             "below 1: every anchor with a larger IoU to an object learns it"),
    DN_FLOAT(S, iou_normalizer, "iou_normalizer", -1, -1, 1e6,
             "weight of the box loss; -1: 1 for mse, .75 for the others"),
    DN_FLOAT(S, obj_normalizer, "obj_normalizer", 1, 0, 1e6, "weight of the objectness loss"),
    DN_FLOAT(S, cls_normalizer, "cls_normalizer", 1, 0, 1e6, "weight of the class loss"),
    DN_FLOAT(S, delta_normalizer, "delta_normalizer", 1, 0, 1e6, "weight of the whole loss"),
    DN_CHOICE(S, nms_kind, "nms_kind", DN_NMS_DEFAULT, nms_kinds, "how boxes are suppressed"),
    DN_FLOAT(S, beta_nms, "beta_nms", .6, 0, 100, "exponent of nms_kind=diounms"),
    DN_FLOAT(S, max_delta, "max_delta", 3e38, 0, 3.4e38,
             "largest gradient of a box coordinate; not of iou_loss=mse"),
    DN_FLOAT(S, label_smooth_eps, "label_smooth_eps", 0, 0, 1, "classes aim at 1-eps/2 and eps/2"),
    DN_FLAG(S, focal_loss, "focal_loss", 0, "classes learn by the focal loss"),
    DN_FLAG(S, objectness_smooth, "objectness_smooth", 0,
            "boxes near an object learn their IoU as objectness"),
    DN_FLOATS(S, counters_per_class, "counters_per_class", 1, 1e12,
              "labels of each class: rare classes get larger gradients"),
    DN_FLOAT(S, jitter, "jitter", .2, 0, 1, "augmentation: how far each side is cropped or padded"),
    DN_FLOAT(S, random, "random", 0, 0, 10, "multi-scale training: 1, or the largest factor"),
    DN_FLOAT(S, resize, "resize", 1, .01, 100, "augmentation: zoom by up to this factor"),
    DN_IGNORED("max", "accepted; all objects of an image count"),
    DN_IGNORED("show_details", "accepted; no effect"),
    DN_IGNORED("truth_size", "accepted; no effect"),
    DN_IGNORED("track_history_size", "accepted; no tracking"),
    DN_IGNORED("sim_thresh", "accepted; no tracking"),
    DN_IGNORED("dets_for_track", "accepted; no tracking"),
    DN_IGNORED("dets_for_show", "accepted; no tracking"),
    DN_IGNORED("track_ciou_norm", "accepted; no tracking"),
    DN_IGNORED("embedding_layer", "accepted; no tracking"),
    DN_OPTIONS_END,
};
#undef S

static dn_status set_anchors(dn_layer *layer, const dn_network *network)
{
    const dn_yolo_options *o = layer->options;
    dn_yolo_state *state = layer->state;
    if (o->anchors.count != 0 && o->anchors.count != 2 * o->num)
        return dn_layer_fail(layer, network, "anchors has %d numbers, num=%d wants %d",
                             o->anchors.count, o->num, 2 * o->num);
    state->slots = o->mask.count ? o->mask.count : o->num;
    for (int32_t a = 0; a < o->mask.count; a++)
        if (o->mask.items[a] >= o->num)
            return dn_layer_fail(layer, network, "mask=%d: num=%d allows 0..%d", o->mask.items[a],
                                 o->num, o->num - 1);
    if (state->anchors) return DN_OK;
    state->anchors = dn_alloc(2 * (size_t)o->num * sizeof *state->anchors);
    state->anchor_of_slot = dn_alloc((size_t)state->slots * sizeof *state->anchor_of_slot);
    if (!state->anchors || !state->anchor_of_slot) return DN_ERROR_MEMORY;
    for (int32_t k = 0; k < 2 * o->num; k++)
        state->anchors[k] = o->anchors.count ? o->anchors.items[k] : 0.5f;
    for (int32_t a = 0; a < state->slots; a++)
        state->anchor_of_slot[a] = o->mask.count ? o->mask.items[a] : a;
    return DN_OK;
}

/* Rare classes weigh more: the largest counter over each class's. */
static dn_status set_class_weights(dn_layer *layer, const dn_network *network)
{
    const dn_yolo_options *o = layer->options;
    dn_yolo_state *state = layer->state;
    const int32_t count = o->counters_per_class.count;
    if (count == 0 || state->class_weights) return DN_OK;
    if (count != o->classes)
        return dn_layer_fail(layer, network, "counters_per_class has %d numbers, classes=%d", count,
                             o->classes);
    state->class_weights = dn_alloc((size_t)count * sizeof *state->class_weights);
    if (!state->class_weights) return DN_ERROR_MEMORY;
    float most = 0.0f;
    for (int32_t c = 0; c < count; c++) most = fmaxf(most, o->counters_per_class.items[c]);
    for (int32_t c = 0; c < count; c++)
        state->class_weights[c] = most / o->counters_per_class.items[c];
    return DN_OK;
}

static float box_normalizer(const dn_yolo_options *o)
{
    if (o->iou_normalizer >= 0.0f) return o->iou_normalizer;
    return o->iou_loss == DN_BOX_MSE ? 1.0f : 0.75f;
}

static dn_yolo_head head_of(const dn_layer *layer, const dn_network *network)
{
    const dn_yolo_options *o = layer->options;
    const dn_yolo_state *state = layer->state;
    return (dn_yolo_head){
        .classes = o->classes,
        .num = o->num,
        .slots = state->slots,
        .h = layer->out.h,
        .w = layer->out.w,
        .input_w = (float)network->input.w,
        .input_h = (float)network->input.h,
        .scale_x_y = o->scale_x_y,
        .new_coords = o->new_coords,
        .focal_loss = o->focal_loss,
        .objectness_smooth = o->objectness_smooth,
        .iou_loss = (dn_box_loss)o->iou_loss,
        .iou_thresh_kind = (dn_box_loss)(DN_BOX_IOU + o->iou_thresh_kind),
        .ignore_thresh = o->ignore_thresh,
        .truth_thresh = o->truth_thresh,
        .iou_thresh = o->iou_thresh,
        .box_normalizer = box_normalizer(o),
        .obj_normalizer = o->obj_normalizer,
        .cls_normalizer = o->cls_normalizer,
        .max_delta = o->max_delta,
        .label_smooth_eps = o->label_smooth_eps,
        .anchors = state->anchors,
        .anchor_of_slot = state->anchor_of_slot,
        .class_weights = state->class_weights,
    };
}

static bool is_read(const dn_layer *layer, const dn_network *network)
{
    for (int32_t i = layer->index + 1; i < network->layer_count; i++)
        for (int32_t k = 0; k < network->layers[i].input_count; k++)
            if (network->layers[i].inputs[k] == layer->index) return true;
    return false;
}

/* Whether the output waits until it is asked for; the input must stay there then. */
static dn_status set_lazy(dn_layer *layer, const dn_network *network)
{
    dn_yolo_state *state = layer->state;
    const dn_network_options *made = &network->options;
    state->lazy = network->backend == &dn_cpu_backend && !made->training && !made->keep_all &&
                  !is_read(layer, network);
    layer->keeps_input = state->lazy;
    if (state->entries) return DN_OK;
    state->entries = dn_alloc(2 * (size_t)(DN_YOLO_CLASSES + state->info.classes) * sizeof(float));
    return state->entries ? DN_OK : DN_ERROR_MEMORY;
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_yolo_options *o = layer->options;
    dn_yolo_state *state = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    if (layer->rois) return dn_layer_fail(layer, network, "a head cannot stand behind [roialign]");
    state->info.classes = o->classes;
    state->info.nms_kind = (dn_nms_kind)o->nms_kind;
    state->info.beta_nms = o->beta_nms;
    state->info.jitter = o->jitter;
    state->info.random = o->random;
    state->info.resize = o->resize;
    DN_TRY(set_anchors(layer, network));
    DN_TRY(dn_head_check_filters(layer, network, state->slots, DN_YOLO_CLASSES + o->classes));
    DN_TRY(dn_head_read_map(&state->info, layer, network, o->map));
    DN_TRY(set_class_weights(layer, network));
    DN_TRY(set_lazy(layer, network));
    layer->keeps_output = true;
    layer->has_loss = layer->trains;
    DN_TRY(dn_set_output(layer, network, in->c, in->h, in->w));
    state->head = head_of(layer, network);
    layer->saved_floats = layer->trains ? dn_yolo_loss_floats(layer) : 0;
    return DN_OK;
}

void dn_yolo_activate(const dn_yolo_options *o, const float *in, float *out, int64_t plane)
{
    const int64_t all = (DN_YOLO_CLASSES + o->classes) * plane;
    if (o->new_coords) {
        memcpy(out, in, (size_t)all * sizeof *out);
    } else {
        memcpy(out + DN_YOLO_W * plane, in + DN_YOLO_W * plane, 2 * (size_t)plane * sizeof *out);
        dn_activate_array(DN_ACTIVATION_logistic, in, out, 2 * plane);
        dn_activate_array(DN_ACTIVATION_logistic, in + DN_YOLO_OBJECTNESS * plane,
                          out + DN_YOLO_OBJECTNESS * plane, all - DN_YOLO_OBJECTNESS * plane);
    }
    if (o->scale_x_y != 1.0f)
        for (int64_t k = 0; k < 2 * plane; k++) out[k] = dn_yolo_stretch(o->scale_x_y, out[k]);
}

static void activate(const dn_layer *layer, const dn_pass *pass)
{
    const dn_yolo_options *o = layer->options;
    const dn_yolo_state *state = layer->state;
    const float *in = dn_input(layer, pass, 0)->data; /* (n, slots * (5 + classes), h, w) */
    float *out = layer->out.data;                     /* same */
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    const int64_t slot_size = (DN_YOLO_CLASSES + o->classes) * plane;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t k = 0; k < (int64_t)pass->batch * state->slots; k++)
        dn_yolo_activate(o, in + k * slot_size, out + k * slot_size, plane);
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    dn_yolo_state *state = layer->state;
    state->waits = state->lazy;
    if (!state->waits) activate(layer, pass);
    return pass->training ? dn_yolo_loss(layer, pass) : DN_OK;
}

static void complete(const dn_layer *layer, const dn_pass *pass)
{
    dn_yolo_state *state = layer->state;
    if (state->waits) activate(layer, pass);
    state->waits = false;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_yolo_options *o = layer->options;
    float *grad = dn_input(layer, pass, 0)->grad; /* (n, slots * (5 + classes), h, w) */
    if (!grad) return DN_OK;
    const int64_t count = pass->batch * dn_tensor_size(&layer->out);
    const float factor = o->delta_normalizer * pass->network->loss_scale;
    for (int64_t k = 0; k < count; k++) grad[k] += factor * layer->saved[k];
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    (void)layer;
    (void)network;
    snprintf(text, size, "yolo");
}

static void destroy(dn_layer *layer)
{
    dn_yolo_state *state = layer->state;
    dn_free(state->info.class_map);
    dn_free(state->entries);
    dn_free(state->anchor_of_slot);
    dn_free(state->anchors);
    dn_free(state->class_weights);
}

const dn_layer_type dn_yolo_layer = {
    .name = "yolo",
    .options_size = sizeof(dn_yolo_options),
    .options = options,
    .state_size = sizeof(dn_yolo_state),
    .setup = setup,
    .cpu = {forward, backward},
    .detect = dn_yolo_detect,
    .complete = complete,
    .describe = describe,
    .destroy = destroy,
};
