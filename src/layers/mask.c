/* [mask]: the end of a mask branch: probabilities, and in training the loss.
 *
 * The layer before is a linear convolution with one filter a class, or one for all (classes=1). Its
 * weights start from N(0, .001^2). The output is the logistic of the channel of each RoI's class,
 * (RoIs, 1, h, w).
 *
 * Training. A RoI with a truth gets the target t of dn_mask_target: the share of each cell of its
 * enlarged box that the truth's mask covers (soft_targets=0: cut at one half). With x the logits of
 * its class and p = logistic(x), the RoI's loss is the mean of the cells' binary cross entropies,
 * plus, with loss=bce+dice, 1 - (2 sum(p t) + 1) / (sum(p^2) + sum(t^2) + 1) (Milletari et al.
 * 2016; the squares make p = t the minimum for soft t too). The loss of an image is mask_scale
 * times the mean of its RoIs' losses, 0 where it has none. Gradients go to the logits of the RoI's
 * class; a gradient of the output, if something follows, is not passed on.
 *
 * What is asked of it behind inference: mask_values.c.
 */
#include "layers/mask.h"

#include "core/memory.h"
#include "layers/roialign.h"
#include "math/activation.h"

#include <stdio.h>
#include <string.h>

static const char *const loss_names[] = {"bce", "bce+dice", NULL};

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

/* Training begins with probabilities near one half, as in Mask R-CNN (He et al. 2017). */
static void start_undecided(dn_layer *convolution)
{
    dn_param *weights = dn_find_param(convolution, "weights");
    weights->init = DN_INIT_NORMAL;
    weights->init_value = 0.001f;
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_mask_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    DN_TRY(check_input(layer, network));
    DN_TRY(check_classes(layer, network));
    start_undecided(&network->layers[layer->inputs[0]]);
    DN_TRY(dn_set_output(layer, network, 1, in->h, in->w));
    layer->keeps_input = o->classes > 1; /* dn_masks_of reads other channels */
    layer->keeps_output = true;
    layer->has_loss = true;
    if (layer->trains) {
        layer->saved_floats = layer->out.n * (dn_tensor_size(&layer->out) + 1);
        layer->workspace_floats = layer->out.n * (int64_t)(sizeof(dn_mask_measure) / sizeof(float));
    }
    return DN_OK;
}

static bool with_dice(const dn_layer *layer)
{
    const dn_mask_options *o = layer->options;
    return o->loss == DN_MASK_BCE_DICE;
}

static int32_t channel_of(const dn_layer *layer, int32_t class_id)
{
    const dn_mask_options *o = layer->options;
    return o->classes == 1 ? 0 : class_id;
}

int32_t dn_mask_channel(const dn_layer *layer, int32_t r)
{
    return channel_of(layer, layer->rois->rois[r].class_id);
}

int64_t dn_mask_logits_start(const dn_layer *layer, const dn_tensor *in, int32_t r,
                             int32_t class_id)
{
    return r * dn_tensor_size(in) + (int64_t)channel_of(layer, class_id) * in->h * in->w;
}

/* The logits of RoI r's class; of the gradient where `values` is in->grad. */
static float *plane_of(const dn_layer *layer, const dn_tensor *in, float *values, int32_t r)
{
    return values + dn_mask_logits_start(layer, in, r, layer->rois->rois[r].class_id);
}

dn_status dn_mask_check_rois(const dn_layer *layer, const dn_pass *pass)
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

static void set_weights(const dn_layer *layer, const dn_pass *pass, float *weights)
{
    const dn_mask_options *o = layer->options;
    const dn_roi *rois = layer->rois->rois;
    const float scale = o->mask_scale * pass->network->mask_scale_factor;
    for (int32_t first = 0, last; first < layer->rois->count; first = last) {
        int32_t positive = 0;
        for (last = first; last < layer->rois->count && rois[last].image == rois[first].image;
             last++)
            positive += rois[last].truth >= 0;
        for (int32_t r = first; r < last; r++)
            weights[r] = rois[r].truth >= 0 ? scale / (float)positive : 0.0f;
    }
}

static dn_status take_target(const dn_layer *layer, const dn_pass *pass, int32_t r, float *targets)
{
    const dn_mask_options *o = layer->options;
    const dn_roi *roi = &layer->rois->rois[r];
    const dn_truth_object *object = &pass->truth[roi->image].objects[roi->truth];
    return dn_mask_target(object->mask, &object->net_to_image, object->visible, roi->expanded,
                          layer->out.w, o->soft_targets, targets + r * dn_tensor_size(&layer->out));
}

dn_status dn_mask_learn_from(const dn_layer *layer, const dn_pass *pass, float *weights,
                             float *targets)
{
    int32_t failed = INT32_MAX;
    set_weights(layer, pass, weights);
#pragma omp parallel for num_threads(pass->threads) schedule(dynamic) reduction(min : failed)
    for (int32_t r = 0; r < layer->rois->count; r++)
        if (layer->rois->rois[r].truth >= 0 && take_target(layer, pass, r, targets) != DN_OK &&
            r < failed)
            failed = r;
    /* again, for the message in this thread */
    return failed == INT32_MAX ? DN_OK : take_target(layer, pass, failed, targets);
}

/* Loss of RoI r, and the overlap of prediction and target. */
static dn_mask_measure measure(const dn_layer *layer, const dn_tensor *in, int32_t r)
{
    const dn_mask *state = layer->state;
    const int32_t cells = layer->out.h * layer->out.w;
    const float *logits = plane_of(layer, in, in->data, r);
    const float *p = layer->out.data + (int64_t)r * cells;
    const float *t = state->targets + (int64_t)r * cells;
    dn_mask_sums sums = {0};
    for (int32_t i = 0; i < cells; i++) dn_mask_add(&sums, logits[i], p[i], t[i]);
    return dn_mask_measure_of(&sums, cells, with_dice(layer));
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
    DN_TRY(dn_mask_learn_from(layer, pass, state->weights, state->targets));
#pragma omp parallel for num_threads(pass->threads)
    for (int32_t r = 0; r < count; r++)
        if (layer->rois->rois[r].truth >= 0) measures[r] = measure(layer, in, r);
    double loss = 0;
    dn_mask_statistics *statistics = &pass->network->mask_statistics;
    *statistics = (dn_mask_statistics){0};
    for (int32_t r = 0; r < count; r++) {
        if (layer->rois->rois[r].truth < 0) continue;
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
    DN_TRY(dn_mask_check_rois(layer, pass));
#pragma omp parallel for num_threads(pass->threads)
    for (int32_t r = 0; r < layer->rois->count; r++) {
        const float *logits = plane_of(layer, in, in->data, r);
        for (int64_t i = 0; i < cells; i++) layer->out.data[r * cells + i] = dn_logistic(logits[i]);
    }
    layer->loss = 0;
    ((dn_mask *)layer->state)->in_planes = false;
    return pass->training ? train(layer, pass) : DN_OK;
}

/* grad += weight * d loss / d logits of one RoI. */
static void backward_roi(const dn_layer *layer, const float *p, const float *t, float weight,
                         float *grad)
{
    const int32_t cells = layer->out.h * layer->out.w;
    dn_mask_sums sums = {0};
    for (int32_t i = 0; i < cells; i++) dn_mask_add_dice(&sums, p[i], t[i]);
    const dn_mask_slope slope = dn_mask_slope_of(&sums, with_dice(layer));
    for (int32_t i = 0; i < cells; i++)
        grad[i] += weight * dn_mask_gradient(slope, cells, p[i], t[i]);
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
                     state->weights[r] * pass->network->loss_scale,
                     plane_of(layer, in, in->grad, r));
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

static void destroy(dn_layer *layer)
{
    dn_free(((dn_mask *)layer->state)->extras);
}

const dn_layer_type dn_mask_layer = {
    .name = "mask",
    .options_size = sizeof(dn_mask_options),
    .options = options,
    .state_size = sizeof(dn_mask),
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
    .destroy = destroy,
};

const dn_layer *dn_mask_layer_of(const dn_network *network)
{
    for (int32_t i = network->run_count - 1; i >= 0; i--)
        if (network->layers[i].type == &dn_mask_layer) return &network->layers[i];
    return NULL;
}
