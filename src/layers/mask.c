/* [mask]: the end of a mask branch: probabilities, and in training the loss.
 *
 * The layer before is a linear convolution with one filter a class, or one for all (classes=1). The
 * output is the logistic of the channel of each RoI's class, (RoIs, 1, h, w).
 *
 * Training. A RoI with a truth gets the target t of dn_mask_target: the share of each cell of its
 * enlarged box that the truth's mask covers (soft_targets=0: cut at one half). With x the logits of
 * its class and p = logistic(x), the RoI's loss is the mean of the cells' binary cross entropies,
 * plus, with loss=bce+dice, 1 - (2 sum(p t) + 1) / (sum(p^2) + sum(t^2) + 1) (Milletari et al.
 * 2016; the squares make p = t the minimum for soft t too). The loss of an image is mask_scale
 * times the mean of its RoIs' losses, 0 where it has none. Gradients go to the logits of the RoI's
 * class; a gradient of the output, if something follows, is not passed on.
 */
#include "layers/mask.h"

#include "layers/roialign.h"
#include "math/activation.h"

#include <stdio.h>
#include <string.h>

typedef enum dn_mask_loss { DN_MASK_BCE, DN_MASK_BCE_DICE } dn_mask_loss;

static const char *const loss_names[] = {"bce", "bce+dice", NULL};

typedef struct dn_mask_options {
    int32_t classes, loss;
    bool soft_targets;
    float mask_scale;
} dn_mask_options;

typedef struct dn_mask {
    float *targets; /* (n, h, w), training only */
    float *weights; /* (n): of a RoI's loss in the sum over images; 0: no truth */
} dn_mask;

/* What training learns of one RoI. */
typedef struct dn_mask_measure {
    double loss, iou;
    dn_status status;
} dn_mask_measure;

#define S dn_mask_options
static const dn_option options[] = {
    DN_INT(S, classes, "classes", 1, 1, 1 << 20, "masks of a box; 1: one for all classes"),
    DN_FLAG(S, soft_targets, "soft_targets", 1, "0: targets are cut at one half"),
    DN_CHOICE(S, loss, "loss", DN_MASK_BCE, loss_names, "of a RoI"),
    DN_FLOAT(S, mask_scale, "mask_scale", 1, 0, 1e6, "factor of the loss"),
    DN_OPTIONS_END,
};
#undef S

static dn_status check_input(const dn_layer *layer, const dn_network *network)
{
    const dn_mask_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    const int32_t before = layer->inputs[0];
    if (!layer->rois)
        return dn_layer_fail(layer, network, "stands outside a mask branch: no [roialign] before");
    const dn_cfg_section *section = &network->cfg->sections[before + 1];
    const dn_cfg_entry *activation = dn_cfg_find(section, "activation");
    if (strcmp(network->layers[before].type->name, "convolutional") == 0 && in->c == o->classes &&
        activation && strcmp(activation->value, "linear") == 0) {
        if (in->h == in->w && in->h <= DN_MASK_SIDE_MAX) return DN_OK;
        return dn_layer_fail(layer, network, "masks are square with sides up to %d, not %d x %d",
                             DN_MASK_SIDE_MAX, in->w, in->h);
    }
    return dn_layer_fail(layer, network,
                         "classes=%d needs a [convolutional] with filters=%d activation=linear "
                         "before it; layer %d is [%s] with %d channels",
                         o->classes, o->classes, before, network->layers[before].type->name, in->c);
}

static dn_status check_classes(const dn_layer *layer, const dn_network *network)
{
    const dn_mask_options *o = layer->options;
    int32_t roialign = layer->index;
    while (layer->rois != dn_roialign_set(&network->layers[roialign])) roialign--;
    dn_head_info head;
    DN_TRY(dn_network_head(network, roialign, &head));
    if (o->classes == 1 || o->classes == head.classes) return DN_OK;
    return dn_layer_fail(layer, network, "classes=%d: the detector has %d; 1 or %d is allowed",
                         o->classes, head.classes, head.classes);
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_mask_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    DN_TRY(check_input(layer, network));
    DN_TRY(check_classes(layer, network));
    DN_TRY(dn_set_output(layer, network, 1, in->h, in->w));
    layer->keeps_input = o->classes > 1; /* dn_mask_of_class reads other channels */
    layer->keeps_output = true;
    layer->has_loss = true;
    if (layer->trains) {
        layer->saved_floats = layer->out.n * (dn_tensor_size(&layer->out) + 1);
        layer->workspace_floats = layer->out.n * (int64_t)(sizeof(dn_mask_measure) / sizeof(float));
    }
    return DN_OK;
}

/* The logits of RoI r's class `class_id`, (h, w); of the gradient where `values` is in->grad. */
static float *class_plane(const dn_layer *layer, const dn_tensor *in, float *values, int32_t r,
                          int32_t class_id)
{
    const dn_mask_options *o = layer->options;
    const int32_t channel = o->classes == 1 ? 0 : class_id;
    return values + r * dn_tensor_size(in) + (int64_t)channel * in->h * in->w;
}

static dn_status check_rois(const dn_layer *layer, const dn_pass *pass)
{
    const dn_mask_options *o = layer->options;
    for (int32_t r = 0; r < layer->rois->count; r++) {
        const int32_t class_id = layer->rois->rois[r].class_id;
        if (o->classes > 1 && (class_id < 0 || class_id >= o->classes))
            return dn_fail(DN_ERROR_DATA, "%s: a box has class %d, [mask] knows classes 0..%d",
                           pass->network->cfg->name, class_id, o->classes - 1);
    }
    return DN_OK;
}

/* weights[r] = mask_scale / (positive RoIs of the same image), 0 where r has no truth. */
static void set_weights(const dn_layer *layer, const dn_pass *pass)
{
    const dn_mask_options *o = layer->options;
    const dn_mask *state = layer->state;
    const dn_roi *rois = layer->rois->rois;
    const float scale = o->mask_scale * pass->network->mask_scale_factor;
    for (int32_t first = 0, last; first < layer->rois->count; first = last) {
        int32_t positive = 0;
        for (last = first; last < layer->rois->count && rois[last].image == rois[first].image;
             last++)
            positive += rois[last].truth >= 0;
        for (int32_t r = first; r < last; r++)
            state->weights[r] = rois[r].truth >= 0 ? scale / (float)positive : 0.0f;
    }
}

/* Loss of one RoI before its weight, and the overlap of prediction and target cut at one half. */
static void measure(const dn_layer *layer, const float *logits, const float *p, const float *t,
                    dn_mask_measure *out)
{
    const dn_mask_options *o = layer->options;
    const int32_t cells = layer->out.h * layer->out.w;
    double bce = 0, both = 0, squares = 0;
    int32_t intersection = 0, all = 0;
    for (int32_t i = 0; i < cells; i++) {
        const double x = (double)logits[i], pd = (double)p[i], td = (double)t[i];
        bce += fmax(x, 0) - x * td + log1p(exp(-fabs(x)));
        both += pd * td;
        squares += pd * pd + td * td;
        intersection += p[i] >= 0.5f && t[i] >= 0.5f;
        all += p[i] >= 0.5f || t[i] >= 0.5f;
    }
    out->loss = bce / cells;
    if (o->loss == DN_MASK_BCE_DICE) out->loss += 1 - (2 * both + 1) / (squares + 1);
    out->iou = all ? (double)intersection / all : 1;
}

static dn_status take_target(const dn_layer *layer, const dn_pass *pass, int32_t r)
{
    const dn_mask_options *o = layer->options;
    const dn_mask *state = layer->state;
    const dn_roi *roi = &layer->rois->rois[r];
    const dn_truth_object *object = &pass->truth[roi->image].objects[roi->truth];
    return dn_mask_target(object->mask, &object->net_to_image, object->visible, roi->expanded,
                          layer->out.w, o->soft_targets,
                          state->targets + r * dn_tensor_size(&layer->out));
}

static dn_status train(dn_layer *layer, const dn_pass *pass)
{
    dn_mask *state = layer->state;
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t cells = dn_tensor_size(&layer->out);
    const int32_t count = layer->rois->count;
    dn_mask_measure *measures = (dn_mask_measure *)(void *)pass->workspace; /* (count) */
    state->targets = layer->saved;
    state->weights = layer->saved + layer->out.n * cells;
    set_weights(layer, pass);
#pragma omp parallel for num_threads(pass->threads) schedule(dynamic)
    for (int32_t r = 0; r < count; r++) {
        measures[r] = (dn_mask_measure){0};
        if (layer->rois->rois[r].truth < 0) continue;
        measures[r].status = take_target(layer, pass, r);
        measure(layer, class_plane(layer, in, in->data, r, layer->rois->rois[r].class_id),
                layer->out.data + r * cells, state->targets + r * cells, &measures[r]);
    }
    double loss = 0;
    dn_mask_statistics *statistics = &pass->network->mask_statistics;
    *statistics = (dn_mask_statistics){0};
    for (int32_t r = 0; r < count; r++) {
        if (layer->rois->rois[r].truth < 0) continue;
        if (measures[r].status != DN_OK) return take_target(layer, pass, r); /* for the message */
        loss += (double)state->weights[r] * measures[r].loss;
        statistics->iou_sum += measures[r].iou;
        statistics->rois++;
    }
    layer->loss = loss / pass->batch;
    return DN_OK;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t cells = dn_tensor_size(&layer->out);
    DN_TRY(check_rois(layer, pass));
#pragma omp parallel for num_threads(pass->threads)
    for (int32_t r = 0; r < layer->rois->count; r++) {
        const float *logits = class_plane(layer, in, in->data, r, layer->rois->rois[r].class_id);
        for (int64_t i = 0; i < cells; i++) layer->out.data[r * cells + i] = dn_logistic(logits[i]);
    }
    layer->loss = 0;
    return pass->training ? train(layer, pass) : DN_OK;
}

/* grad += weight * d loss / d logits of one RoI. */
static void backward_roi(const dn_layer *layer, const float *p, const float *t, float weight,
                         float *grad)
{
    const dn_mask_options *o = layer->options;
    const int32_t cells = layer->out.h * layer->out.w;
    double both = 0, squares = 0;
    for (int32_t i = 0; i < cells; i++) {
        both += (double)p[i] * (double)t[i];
        squares += (double)p[i] * (double)p[i] + (double)t[i] * (double)t[i];
    }
    /* d dice / dp = (2 t b - 2 p a) / b^2 with a = 2 sum(p t) + 1, b = the squares + 1 */
    const bool dice = o->loss == DN_MASK_BCE_DICE;
    const float by_t = dice ? (float)(2 / (squares + 1)) : 0.0f;
    const float by_p = dice ? (float)(2 * (2 * both + 1) / ((squares + 1) * (squares + 1))) : 0.0f;
    const float mean = 1.0f / (float)cells;
    for (int32_t i = 0; i < cells; i++) {
        const float slope = p[i] * (1.0f - p[i]);
        grad[i] += weight * (mean * (p[i] - t[i]) + slope * (by_p * p[i] - by_t * t[i]));
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_mask *state = layer->state;
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t cells = dn_tensor_size(&layer->out);
    if (!in->grad) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int32_t r = 0; r < layer->rois->count; r++) {
        if (state->weights[r] == 0.0f) continue;
        backward_roi(layer, layer->out.data + r * cells, state->targets + r * cells,
                     state->weights[r],
                     class_plane(layer, in, in->grad, r, layer->rois->rois[r].class_id));
    }
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_mask_options *o = layer->options;
    (void)network;
    snprintf(text, size, "mask  %d %s   ->  %4d x%4d x%4d", o->classes,
             o->classes == 1 ? "class" : "classes", layer->out.w, layer->out.h, layer->out.c);
}

const dn_layer_type dn_mask_layer = {
    .name = "mask",
    .options_size = sizeof(dn_mask_options),
    .options = options,
    .state_size = sizeof(dn_mask),
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};

const dn_layer *dn_mask_layer_of(const dn_network *network)
{
    for (int32_t i = network->run_count - 1; i >= 0; i--)
        if (network->layers[i].type == &dn_mask_layer) return &network->layers[i];
    return NULL;
}

void dn_mask_of_class(const dn_layer *layer, const dn_network *network, int32_t roi,
                      int32_t class_id, float *out)
{
    const dn_mask_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    const int32_t cells = layer->out.h * layer->out.w;
    if (o->classes == 1 || class_id == layer->rois->rois[roi].class_id) {
        memcpy(out, layer->out.data + (int64_t)roi * cells, (size_t)cells * sizeof *out);
        return;
    }
    const float *logits = class_plane(layer, in, in->data, roi, class_id);
    for (int32_t i = 0; i < cells; i++) out[i] = dn_logistic(logits[i]);
}
