/* [region]: YOLOv2's detection head and its loss.
 *
 * Input (n, num * (5 + classes), h, w): per anchor the planes x, y, w, h, objectness and one a
 * class. Output: the same with the logistic of x, y and objectness and, with softmax=1, the softmax
 * over the classes (else their logistic). A box of cell (i, j) with anchor (pw, ph) in cells,
 * relative to the network's input:
 *     x = (i + x') / w,  y = (j + y') / h,  width = e^w' pw / w,  height = e^h' ph / h.
 *
 * Loss, as Darknet's: objectness -> 0 unless the best IoU with an object (or the share inside a
 * crowd) exceeds thresh; an object is learned in the cell of its centre by the anchor whose shape,
 * or with bias_match=0 whose predicted shape, fits best: place, class, and objectness 1 (rescore:
 * the IoU). During the first 12800 images all boxes are pulled to their anchors. Gradients are
 * prediction - target times the scales; the loss of an image is the sum of their squares. Class
 * trees, mask coefficients (coords > 4) and background=1 are not supported.
 */
#include "layers/region.h"

#include "core/host.h"
#include "core/memory.h"
#include "math/activation.h"

#include <stdio.h>
#include <string.h>

/* So many images at the start of a training pull all boxes to their anchors. */
enum { REGION_WARM_UP_IMAGES = 12800 };

#define S dn_region_options
static const dn_option options[] = {
    DN_INT(S, coords, "coords", 4, 1, 65536, "values of a box; only 4 is supported"),
    DN_INT(S, classes, "classes", 20, 1, 65536, "classes"),
    DN_INT(S, num, "num", 1, 1, 1024, "anchors"),
    DN_FLOATS(S, anchors, "anchors", 1e-6, 1e6, "width, height pairs in cells"),
    DN_FLAG(S, softmax, "softmax", 0, "classes exclude each other"),
    DN_FLAG(S, background, "background", 0, "only 0 is supported"),
    DN_FLAG(S, rescore, "rescore", 0, "objectness aims at the IoU instead of 1"),
    DN_FLAG(S, bias_match, "bias_match", 0, "anchors, not predictions, compete for an object"),
    DN_FLOAT(S, thresh, "thresh", .5, 0, 1e6, "a box with a larger IoU is no negative"),
    DN_FLOAT(S, coord_scale, "coord_scale", 1, 0, 1e6, "weight of boxes"),
    DN_FLOAT(S, object_scale, "object_scale", 1, 0, 1e6, "weight of objectness where objects are"),
    DN_FLOAT(S, noobject_scale, "noobject_scale", 1, 0, 1e6, "weight of objectness elsewhere"),
    DN_FLOAT(S, class_scale, "class_scale", 1, 0, 1e6, "weight of classes"),
    DN_FLAG(S, focal_loss, "focal_loss", 0, "classes learn by the focal loss"),
    DN_FLOAT(S, jitter, "jitter", .2, 0, 1, "augmentation: how far each side is cropped or padded"),
    DN_FLOAT(S, random, "random", 0, 0, 10, "multi-scale training: 1, or the largest factor"),
    DN_FLOAT(S, resize, "resize", 1, .01, 100, "augmentation: zoom by up to this factor"),
    DN_TEXT(S, map, "map", "file with one number a line: what each label class becomes"),
    DN_TEXT(S, tree, "tree", "not supported"),
    DN_IGNORED("max", "accepted; all objects of an image count"),
    DN_IGNORED("log", "accepted; no effect"),
    DN_IGNORED("sqrt", "accepted; no effect"),
    DN_IGNORED("absolute", "accepted; no effect"),
    DN_IGNORED("classfix", "accepted; it belongs to class trees"),
    DN_IGNORED("mask_scale", "accepted; it belongs to mask coefficients"),
    DN_OPTIONS_END,
};
#undef S

static dn_status check_supported(const dn_layer *layer, const dn_network *network)
{
    const dn_region_options *o = layer->options;
    if (o->tree)
        return dn_layer_fail(layer, network, "tree=%s: class trees are not supported", o->tree);
    if (o->coords != 4)
        return dn_layer_fail(layer, network,
                             "coords=%d: only 4 is supported (masks: [roialign] and [mask])",
                             o->coords);
    if (o->background) return dn_layer_fail(layer, network, "background=1 is not supported");
    if (layer->rois) return dn_layer_fail(layer, network, "a head cannot stand behind [roialign]");
    if (o->anchors.count != 0 && o->anchors.count != 2 * o->num)
        return dn_layer_fail(layer, network, "anchors has %d numbers, num=%d wants %d",
                             o->anchors.count, o->num, 2 * o->num);
    return dn_head_check_filters(layer, network, o->num, DN_REGION_CLASSES + o->classes);
}

static dn_region_head head_of(const dn_layer *layer)
{
    const dn_region_options *o = layer->options;
    const dn_region_state *state = layer->state;
    return (dn_region_head){
        .classes = o->classes,
        .num = o->num,
        .h = layer->out.h,
        .w = layer->out.w,
        .softmax = o->softmax,
        .rescore = o->rescore,
        .bias_match = o->bias_match,
        .focal_loss = o->focal_loss,
        .thresh = o->thresh,
        .coord_scale = o->coord_scale,
        .object_scale = o->object_scale,
        .noobject_scale = o->noobject_scale,
        .class_scale = o->class_scale,
        .anchors = state->anchors,
    };
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_region_options *o = layer->options;
    dn_region_state *state = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    DN_TRY(check_supported(layer, network));
    state->info.classes = o->classes;
    state->info.jitter = o->jitter;
    state->info.random = o->random;
    state->info.resize = o->resize;
    DN_TRY(dn_head_read_map(&state->info, layer, network, o->map));
    if (!state->anchors) {
        state->anchors = dn_alloc(2 * (size_t)o->num * sizeof *state->anchors);
        if (!state->anchors) return DN_ERROR_MEMORY;
        for (int32_t k = 0; k < 2 * o->num; k++)
            state->anchors[k] = o->anchors.count ? o->anchors.items[k] : 0.5f;
    }
    layer->keeps_output = true;
    layer->has_loss = layer->trains;
    DN_TRY(dn_set_output(layer, network, in->c, in->h, in->w));
    state->head = head_of(layer);
    layer->saved_floats = layer->trains ? layer->out.n * dn_tensor_size(&layer->out) : 0;
    return DN_OK;
}

/* Where the anchor's values of one image at one cell, (5 + classes) planes apart, begin. */
static int64_t offset_of(const dn_layer *layer, int32_t image, int32_t anchor, int64_t cell)
{
    const dn_region_options *o = layer->options;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    return image * dn_tensor_size(&layer->out) + anchor * (DN_REGION_CLASSES + o->classes) * plane +
           cell;
}

/* The output of one anchor of one image, (5 + classes, h, w), from its input. */
static void activate_anchor(const dn_region_options *o, const float *in, float *out, int64_t plane)
{
    const float *classes = in + DN_REGION_CLASSES * plane;
    dn_activate_array(DN_ACTIVATION_logistic, in, out, 2 * plane);
    memcpy(out + 2 * plane, in + 2 * plane, 2 * (size_t)plane * sizeof *out);
    dn_activate_array(DN_ACTIVATION_logistic, in + DN_REGION_OBJECTNESS * plane,
                      out + DN_REGION_OBJECTNESS * plane, plane);
    if (!o->softmax)
        dn_activate_array(DN_ACTIVATION_logistic, classes, out + DN_REGION_CLASSES * plane,
                          o->classes * plane);
    else
        for (int64_t cell = 0; cell < plane; cell++)
            dn_region_softmax(classes + cell, out + DN_REGION_CLASSES * plane + cell, o->classes,
                              plane);
}

static dn_region_place place_of(const dn_layer *layer, int32_t image, int32_t anchor, int64_t cell)
{
    const int64_t offset = offset_of(layer, image, anchor, cell);
    return (dn_region_place){
        .anchor = anchor,
        .cell = cell,
        .out = layer->out.data + offset,
        .gradient = layer->saved + offset,
    };
}

bool dn_region_warms_up(const dn_pass *pass)
{
    return pass->network->seen < REGION_WARM_UP_IMAGES;
}

static void learn_negatives(const dn_layer *layer, const dn_pass *pass, int32_t image,
                            int32_t anchor)
{
    const dn_region_state *state = layer->state;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    for (int64_t cell = 0; cell < plane; cell++) {
        const dn_region_place at = place_of(layer, image, anchor, cell);
        const dn_box box = dn_region_box_at(&state->head, at);
        dn_region_learn_negative(&state->head, at, dn_head_overlap_of(pass, image, box),
                                 dn_region_warms_up(pass));
    }
}

static void learn_object(const dn_layer *layer, int32_t image, const dn_head_object *object,
                         dn_head_sums *sums)
{
    const dn_region_state *state = layer->state;
    const dn_region_head *head = &state->head;
    const float *outputs = layer->out.data + image * dn_tensor_size(&layer->out);
    const int64_t cell = dn_region_cell(head, object);
    const int32_t anchor = dn_region_best_anchor(head, outputs, cell, object);
    dn_region_learn(head, place_of(layer, image, anchor, cell), object, sums);
}

/* Adds the squared gradients and the objectness of all boxes. */
static void add_all(const dn_layer *layer, const dn_pass *pass, dn_head_sums *sums)
{
    const dn_region_options *o = layer->options;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    const int32_t planes = DN_REGION_CLASSES + o->classes;
    for (int64_t k = 0; k < (int64_t)pass->batch * o->num * planes; k++)
        for (int64_t cell = k * plane; cell < (k + 1) * plane; cell++) {
            dn_region_add_square(k % planes, layer->saved[cell], sums);
            if (k % planes == DN_REGION_OBJECTNESS)
                sums->no_objectness += (double)layer->out.data[cell];
        }
}

void dn_region_set_loss(dn_layer *layer, const dn_pass *pass, const dn_head_sums *sums)
{
    dn_region_state *state = layer->state;
    const dn_region_head *head = &state->head;
    layer->loss = 0;
    state->info.statistics = (dn_head_statistics){0};
    if (!sums) return;
    layer->loss = (sums->boxes + sums->objectness_squares + sums->classes) / pass->batch;
    dn_head_statistics_set(&state->info, sums,
                           (int64_t)pass->batch * head->num * head->h * head->w);
    state->info.statistics.box_loss = sums->boxes / pass->batch;
    state->info.statistics.class_loss = sums->classes / pass->batch;
}

static dn_status find_loss(dn_layer *layer, const dn_pass *pass)
{
    const dn_region_options *o = layer->options;
    const dn_region_state *state = layer->state;
    dn_head_sums sums = {0};
    memset(layer->saved, 0, (size_t)layer->saved_floats * sizeof *layer->saved);
    dn_region_set_loss(layer, pass, NULL);
    if (!pass->truth) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int32_t k = 0; k < pass->batch * o->num; k++)
        learn_negatives(layer, pass, k / o->num, k % o->num);
    for (int32_t image = 0; image < pass->batch; image++)
        for (int32_t k = 0; k < pass->truth[image].object_count; k++) {
            dn_head_object object;
            DN_TRY(dn_head_object_get(&state->info, layer, pass, image, k, &object));
            if (object.usable) learn_object(layer, image, &object, &sums);
        }
    add_all(layer, pass, &sums);
    dn_region_set_loss(layer, pass, &sums);
    return DN_OK;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_region_options *o = layer->options;
    const float *in = dn_input(layer, pass, 0)->data; /* (n, num * (5 + classes), h, w) */
    float *out = layer->out.data;                     /* same */
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    const int64_t size = (DN_REGION_CLASSES + o->classes) * plane;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t k = 0; k < (int64_t)pass->batch * o->num; k++)
        activate_anchor(o, in + k * size, out + k * size, plane);
    return pass->training ? find_loss(layer, pass) : DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    float *grad = dn_input(layer, pass, 0)->grad; /* (n, num * (5 + classes), h, w) */
    if (!grad) return DN_OK;
    const int64_t count = pass->batch * dn_tensor_size(&layer->out);
    const float factor = pass->network->loss_scale;
    for (int64_t k = 0; k < count; k++) grad[k] += factor * layer->saved[k];
    return DN_OK;
}

static dn_status detect(const dn_layer *layer, const dn_pass *pass, int32_t image,
                        dn_detections *detections)
{
    const dn_region_options *o = layer->options;
    const dn_region_state *state = layer->state;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    const float *all;
    DN_TRY(dn_host_output(layer, pass, &all));
    for (int64_t cell = 0; cell < plane; cell++)
        for (int32_t anchor = 0; anchor < o->num; anchor++) {
            const float *values = all + offset_of(layer, image, anchor, cell);
            const dn_candidate candidate = {.box =
                                                dn_region_box(&state->head, values, anchor, cell),
                                            .objectness = values[DN_REGION_OBJECTNESS * plane],
                                            .image = image,
                                            .best_class = -1};
            DN_TRY(dn_head_add_box(pass, candidate, values + DN_REGION_CLASSES * plane, o->classes,
                                   plane, detections));
        }
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    (void)layer;
    (void)network;
    snprintf(text, size, "detection");
}

static void destroy(dn_layer *layer)
{
    dn_region_state *state = layer->state;
    dn_free(state->info.class_map);
    dn_free(state->anchors);
}

const dn_layer_type dn_region_layer = {
    .name = "region",
    .options_size = sizeof(dn_region_options),
    .options = options,
    .state_size = sizeof(dn_region_state),
    .setup = setup,
    .cpu = {forward, backward},
    .detect = detect,
    .describe = describe,
    .destroy = destroy,
};
