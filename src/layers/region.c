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
#include "core/memory.h"
#include "layers/head.h"
#include "math/activation.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct dn_region_options {
    int32_t coords, classes, num;
    dn_floats anchors;
    bool softmax, background, rescore, bias_match, focal_loss;
    float thresh, coord_scale, object_scale, noobject_scale, class_scale;
    float jitter, random, resize;
    const char *map, *tree;
} dn_region_options;

typedef struct dn_region_state {
    dn_head_info info; /* first: see network.h */
    float *anchors;    /* (num, 2): width and height in cells */
} dn_region_state;

enum { REGION_OBJECTNESS = 4, REGION_CLASSES = 5 };

/* So many images at the start of a training pull all boxes to their anchors, so strongly. */
enum { REGION_WARM_UP_IMAGES = 12800 };
static const float warm_up_scale = 0.01f;

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
    return dn_head_check_filters(layer, network, o->num, REGION_CLASSES + o->classes);
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
    layer->saved_floats = layer->trains ? layer->out.n * dn_tensor_size(&layer->out) : 0;
    return DN_OK;
}

/* The anchor's values of one image at one cell: (5 + classes) planes apart. */
static float *values_at(const dn_layer *layer, float *values, int32_t image, int32_t anchor,
                        int64_t cell)
{
    const dn_region_options *o = layer->options;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    return values + image * dn_tensor_size(&layer->out) +
           anchor * (REGION_CLASSES + o->classes) * plane + cell;
}

/* Softmax over `count` values that lie `plane` apart. */
static void softmax(const float *in, float *out, int32_t count, int64_t plane)
{
    float most = in[0], sum = 0.0f;
    for (int32_t c = 1; c < count; c++) most = fmaxf(most, in[c * plane]);
    for (int32_t c = 0; c < count; c++) {
        out[c * plane] = expf(in[c * plane] - most);
        sum += out[c * plane];
    }
    for (int32_t c = 0; c < count; c++) out[c * plane] /= sum;
}

/* The output of one anchor of one image, (5 + classes, h, w), from its input. */
static void activate_anchor(const dn_region_options *o, const float *in, float *out, int64_t plane)
{
    const float *classes = in + REGION_CLASSES * plane;
    dn_activate_array(DN_ACTIVATION_logistic, in, out, 2 * plane);
    memcpy(out + 2 * plane, in + 2 * plane, 2 * (size_t)plane * sizeof *out);
    dn_activate_array(DN_ACTIVATION_logistic, in + REGION_OBJECTNESS * plane,
                      out + REGION_OBJECTNESS * plane, plane);
    if (!o->softmax)
        dn_activate_array(DN_ACTIVATION_logistic, classes, out + REGION_CLASSES * plane,
                          o->classes * plane);
    else
        for (int64_t cell = 0; cell < plane; cell++)
            softmax(classes + cell, out + REGION_CLASSES * plane + cell, o->classes, plane);
}

static dn_box box_at(const dn_layer *layer, int32_t image, int32_t anchor, int64_t cell)
{
    const dn_region_state *state = layer->state;
    const dn_tensor *out = &layer->out;
    const int64_t plane = (int64_t)out->h * out->w;
    const float *values = values_at(layer, out->data, image, anchor, cell);
    const float *size = state->anchors + 2 * anchor;
    return dn_box_from_centre(((float)(cell % out->w) + values[0]) / (float)out->w,
                              ((float)(cell / out->w) + values[plane]) / (float)out->h,
                              expf(values[2 * plane]) * size[0] / (float)out->w,
                              expf(values[3 * plane]) * size[1] / (float)out->h);
}

/* Gradients of a box that aims at (x, y, w, h), relative to the network's input. */
static void learn_box(const dn_layer *layer, int32_t image, int32_t anchor, int64_t cell,
                      const float target[4], float scale)
{
    const dn_region_state *state = layer->state;
    const dn_tensor *to = &layer->out;
    const int64_t plane = (int64_t)to->h * to->w;
    const float *size = state->anchors + 2 * anchor;
    const float *out = values_at(layer, to->data, image, anchor, cell);
    float *gradient = values_at(layer, layer->saved, image, anchor, cell);
    const float wanted[4] = {target[0] * (float)to->w - (float)(cell % to->w),
                             target[1] * (float)to->h - (float)(cell / to->w),
                             logf(target[2] * (float)to->w / size[0]),
                             logf(target[3] * (float)to->h / size[1])};
    for (int32_t k = 0; k < 4; k++) gradient[k * plane] = scale * (out[k * plane] - wanted[k]);
}

/* One anchor of one image: objectness of negatives, and the pull to the anchor at the start. */
static void learn_negatives(const dn_layer *layer, const dn_pass *pass, int32_t image,
                            int32_t anchor)
{
    const dn_region_options *o = layer->options;
    const dn_region_state *state = layer->state;
    const dn_tensor *to = &layer->out;
    const int64_t plane = (int64_t)to->h * to->w;
    const float *size = state->anchors + 2 * anchor;
    for (int64_t cell = 0; cell < plane; cell++) {
        int32_t best;
        float in_crowd;
        const dn_box box = box_at(layer, image, anchor, cell);
        const float iou = dn_head_best_iou(pass, image, box, &best, &in_crowd);
        if (iou <= o->thresh && in_crowd <= o->thresh)
            values_at(layer, layer->saved, image, anchor, cell)[REGION_OBJECTNESS * plane] =
                o->noobject_scale *
                values_at(layer, to->data, image, anchor, cell)[REGION_OBJECTNESS * plane];
        if (pass->network->seen >= REGION_WARM_UP_IMAGES) continue;
        const float target[4] = {((float)(cell % to->w) + 0.5f) / (float)to->w,
                                 ((float)(cell / to->w) + 0.5f) / (float)to->h,
                                 size[0] / (float)to->w, size[1] / (float)to->h};
        learn_box(layer, image, anchor, cell, target, warm_up_scale);
    }
}

/* The anchor whose box, moved to the object's centre, has the largest IoU with it. */
static int32_t best_anchor(const dn_layer *layer, int32_t image, int64_t cell,
                           const dn_head_object *object)
{
    const dn_region_options *o = layer->options;
    const dn_region_state *state = layer->state;
    int32_t best = 0;
    float most = -1.0f;
    for (int32_t anchor = 0; anchor < o->num; anchor++) {
        const dn_box box = box_at(layer, image, anchor, cell);
        const float *size = state->anchors + 2 * anchor;
        const float w = o->bias_match ? size[0] / (float)layer->out.w : box.x1 - box.x0;
        const float h = o->bias_match ? size[1] / (float)layer->out.h : box.y1 - box.y0;
        const float iou = dn_box_iou(dn_box_from_centre(0.0f, 0.0f, w, h),
                                     dn_box_from_centre(0.0f, 0.0f, object->w, object->h));
        if (iou <= most) continue;
        most = iou;
        best = anchor;
    }
    return best;
}

static void learn_object(dn_layer *layer, int32_t image, const dn_head_object *object)
{
    const dn_region_options *o = layer->options;
    dn_region_state *state = layer->state;
    const dn_tensor *to = &layer->out;
    const int64_t plane = (int64_t)to->h * to->w;
    const int64_t cell =
        (int64_t)dn_head_cell(object->y, to->h) * to->w + dn_head_cell(object->x, to->w);
    const int32_t anchor = best_anchor(layer, image, cell, object);
    const float target[4] = {object->x, object->y, object->w, object->h};
    const float *out = values_at(layer, to->data, image, anchor, cell);
    float *gradient = values_at(layer, layer->saved, image, anchor, cell);
    const float iou = dn_box_iou(box_at(layer, image, anchor, cell), object->box);
    const float objectness = out[REGION_OBJECTNESS * plane];
    learn_box(layer, image, anchor, cell, target, o->coord_scale * (2.0f - object->w * object->h));
    gradient[REGION_OBJECTNESS * plane] =
        o->object_scale * (objectness - (o->rescore ? iou : 1.0f));
    const float true_class = out[(REGION_CLASSES + object->class_id) * plane];
    const float factor = o->class_scale * (o->focal_loss ? dn_head_focal_factor(true_class) : 1.0f);
    for (int32_t c = 0; c < o->classes; c++)
        gradient[(REGION_CLASSES + c) * plane] =
            factor * (out[(REGION_CLASSES + c) * plane] - (c == object->class_id ? 1.0f : 0.0f));
    dn_head_statistics_add(&state->info, iou, true_class, objectness);
}

/* layer->loss and the statistics from the gradients. */
static void finish(dn_layer *layer, const dn_pass *pass)
{
    const dn_region_options *o = layer->options;
    dn_region_state *state = layer->state;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    const int32_t planes = REGION_CLASSES + o->classes;
    double parts[3] = {0}, no_objectness = 0; /* boxes, objectness, classes */
    for (int64_t k = 0; k < (int64_t)pass->batch * o->num * planes; k++) {
        const int64_t entry = k % planes;
        const int32_t part = entry < REGION_OBJECTNESS ? 0 : entry == REGION_OBJECTNESS ? 1 : 2;
        for (int64_t cell = k * plane; cell < (k + 1) * plane; cell++) {
            parts[part] += (double)layer->saved[cell] * (double)layer->saved[cell];
            if (part == 1) no_objectness += (double)layer->out.data[cell];
        }
    }
    layer->loss = (parts[0] + parts[1] + parts[2]) / pass->batch;
    state->info.statistics.box_loss = parts[0] / pass->batch;
    state->info.statistics.class_loss = parts[2] / pass->batch;
    dn_head_statistics_finish(&state->info, no_objectness, (int64_t)pass->batch * o->num * plane);
}

static dn_status set_loss(dn_layer *layer, const dn_pass *pass)
{
    const dn_region_options *o = layer->options;
    dn_region_state *state = layer->state;
    memset(layer->saved, 0, (size_t)layer->saved_floats * sizeof *layer->saved);
    memset(&state->info.statistics, 0, sizeof state->info.statistics);
    layer->loss = 0;
    if (!pass->truth) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int32_t k = 0; k < pass->batch * o->num; k++)
        learn_negatives(layer, pass, k / o->num, k % o->num);
    for (int32_t image = 0; image < pass->batch; image++)
        for (int32_t k = 0; k < pass->truth[image].object_count; k++) {
            dn_head_object object;
            bool use;
            DN_TRY(dn_head_object_get(&state->info, layer, pass, image, k, &object, &use));
            if (use) learn_object(layer, image, &object);
        }
    finish(layer, pass);
    return DN_OK;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_region_options *o = layer->options;
    const float *in = dn_input(layer, pass, 0)->data; /* (n, num * (5 + classes), h, w) */
    float *out = layer->out.data;                     /* same */
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    const int64_t size = (REGION_CLASSES + o->classes) * plane;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t k = 0; k < (int64_t)pass->batch * o->num; k++)
        activate_anchor(o, in + k * size, out + k * size, plane);
    return pass->training ? set_loss(layer, pass) : DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    float *grad = dn_input(layer, pass, 0)->grad; /* (n, num * (5 + classes), h, w) */
    if (!grad) return DN_OK;
    const int64_t count = pass->batch * dn_tensor_size(&layer->out);
    for (int64_t k = 0; k < count; k++) grad[k] += layer->saved[k];
    return DN_OK;
}

static dn_status detect(const dn_layer *layer, const dn_pass *pass, int32_t image,
                        dn_detections *detections)
{
    const dn_region_options *o = layer->options;
    const int64_t plane = (int64_t)layer->out.h * layer->out.w;
    for (int64_t cell = 0; cell < plane; cell++)
        for (int32_t anchor = 0; anchor < o->num; anchor++) {
            const float *values = values_at(layer, layer->out.data, image, anchor, cell);
            const dn_candidate candidate = {.box = box_at(layer, image, anchor, cell),
                                            .objectness = values[REGION_OBJECTNESS * plane],
                                            .image = image,
                                            .best_class = -1};
            DN_TRY(dn_head_add_box(pass, candidate, values + REGION_CLASSES * plane, o->classes,
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
