/* The steps of layers with a blocked form. See plan.h.
 *
 * A [route] copies nothing where it can: of one input it is a view; of several, an input whose
 * channels are whole blocks and that has no other place yet is written where the joined tensor has
 * it. [dropout] and [empty] are views.
 */
#include "infer/layer_types.h"
#include "infer/plan.h"
#include "layers/activation.h"
#include "layers/route.h"
#include "layers/scale.h"
#include "layers/shortcut.h"
#include "layers/upsample.h"

static const dn_tensor *input_shape(const dn_plan *plan, const dn_layer *layer, int32_t k)
{
    return dn_input_shape(layer, plan->network, k);
}

static dn_step *add_step(dn_plan *plan, const dn_step_type *type, dn_layer *layer, int32_t reads)
{
    dn_step *step = dn_plan_add_step(plan, type, layer);
    step->reads = layer->inputs;
    step->read_count = reads;
    return step;
}

/* ---- [shortcut] ---- */

static bool is_sum_of_two(const dn_plan *plan, const dn_layer *layer)
{
    const dn_shortcut *state = layer->state;
    if (layer->input_count != 2 || state->weights) return false;
    const dn_tensor *other = input_shape(plan, layer, 1), *out = &layer->out;
    return other->c == out->c && other->h == out->h && other->w == out->w;
}

static bool repeats_convolution(const dn_plan *plan, const dn_layer *layer)
{
    const dn_upsample_options *o = layer->options;
    return plan->device && o->stride > 0 && o->scale == 1.0f && layer->index > 0 &&
           layer->inputs[0] == layer->index - 1 &&
           plan->network->layers[layer->index - 1].type == &dn_convolutional_layer;
}

/* Behind the first convolution, whose own forms end otherwise, a head stays as it is. */
static bool ends_convolution(const dn_plan *plan, const dn_layer *layer)
{
    if (!plan->device || layer->inputs[0] < 0) return false;
    const dn_layer *before = &plan->network->layers[layer->inputs[0]];
    return before->type == &dn_convolutional_layer && before->inputs[0] >= 0 &&
           dn_plan_conv_writes_planar(plan, before);
}

int32_t dn_plan_fusable(const dn_plan *plan, const dn_layer *layer)
{
    if (layer->type == &dn_mask_layer || layer->type == &dn_yolo_layer) return layer->inputs[0];
    if (layer->type == &dn_upsample_layer)
        return repeats_convolution(plan, layer) ? layer->index - 1 : -1;
    if (layer->type != &dn_shortcut_layer) return -1;
    const dn_shortcut_options *o = layer->options;
    int32_t before = layer->index - 1;
    if (before > 0 && plan->network->layers[before].type == &dn_dropout_layer) before--;
    if (before < 0 || plan->network->layers[before].type != &dn_convolutional_layer) return -1;
    const bool sums = o->alpha == 1.0f && o->beta == 1.0f && is_sum_of_two(plan, layer);
    return sums && layer->inputs[1] < before ? before : -1;
}

static void emit_shortcut(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                          bool *wrote_planar)
{
    const dn_shortcut_options *o = layer->options;
    if (layers[layer->index - 1].way == DN_WAY_FUSED) {
        dn_layer *before = &plan->network->layers[dn_plan_fusable(plan, layer)];
        dn_plan_emit_conv(plan, layers, before, layer, wrote_planar);
        return;
    }
    dn_step *step = add_step(plan, &dn_step_add, layer, 2);
    step->factors[0] = o->alpha;
    step->factors[1] = o->beta;
    step->activation = (dn_activation)o->activation;
}

/* ---- [route], [dropout], [empty] ---- */

/* Makes the layer's tensor a view of its input's, from channel `from` on; false: not at a block. */
static bool view(dn_plan *plan, const dn_layer *layer, int32_t from)
{
    const int32_t lanes = plan->lanes;
    dn_plan_tensor *tensor = &plan->tensors[layer->index];
    if (from % lanes != 0) return false;
    tensor->parent = dn_plan_index(plan, layer->inputs[0]);
    tensor->block = from / lanes;
    return true;
}

/* Gives the k-th input its place in the joined tensor; false where it must be copied. */
static bool place_inside(dn_plan *plan, const dn_layer *layer, int32_t k, int32_t to)
{
    const int32_t lanes = plan->lanes, c = input_shape(plan, layer, k)->c;
    int32_t block;
    dn_plan_tensor *root = dn_plan_root(plan, layer->inputs[k], &block);
    if (to % lanes != 0 || (c % lanes != 0 && k != layer->input_count - 1)) return false;
    if (block != 0 || root->view.c != c || root == &plan->tensors[layer->index]) return false;
    root->parent = layer->index;
    root->block = to / lanes;
    return true;
}

static void copy_channels(dn_plan *plan, dn_layer *layer, int32_t k, dn_channel_copy copy)
{
    const int32_t lanes = plan->lanes;
    dn_step *step = add_step(plan, &dn_step_copy, layer, 1);
    step->reads = layer->inputs + k;
    step->copy = copy;
    step->first_block = copy.to / lanes;
    step->block_count = dn_blocks(copy.to + copy.count, lanes) - step->first_block;
}

static void emit_route(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                       bool *wrote_planar)
{
    const dn_route_options *o = layer->options;
    int32_t to = 0;
    (void)layers, (void)wrote_planar;
    for (int32_t k = 0; k < layer->input_count; k++) {
        const int32_t count = input_shape(plan, layer, k)->c / o->groups;
        const int32_t from = o->group_id * count;
        const bool there = layer->input_count == 1
                               ? view(plan, layer, from)
                               : o->groups == 1 && place_inside(plan, layer, k, to);
        if (!there) copy_channels(plan, layer, k, (dn_channel_copy){from, to, count});
        to += count;
    }
}

static void emit_view(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                      bool *wrote_planar)
{
    (void)layers, (void)wrote_planar;
    view(plan, layer, 0);
}

/* ---- the others ---- */

static void emit_conv(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                      bool *wrote_planar)
{
    dn_plan_emit_conv(plan, layers, layer, NULL, wrote_planar);
}

static void emit_head(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                      bool *wrote_planar)
{
    dn_layer *before = &plan->network->layers[layer->inputs[0]];
    dn_plan_emit_conv(plan, layers, before, layer, wrote_planar);
}

static void emit_maxpool(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                         bool *wrote_planar)
{
    (void)layers, (void)wrote_planar;
    dn_step *step = add_step(plan, &dn_step_maxpool, layer, 1);
    step->pool = *(const dn_pool_geometry *)layer->state;
}

static bool enlarges(const dn_plan *plan, const dn_layer *layer)
{
    (void)plan;
    return ((const dn_upsample_options *)layer->options)->stride > 0;
}

static void emit_upsample(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                          bool *wrote_planar)
{
    const dn_upsample_options *o = layer->options;
    if (layer->index > 0 && layers[layer->index - 1].way == DN_WAY_FUSED) {
        dn_plan_emit_conv(plan, layers, &plan->network->layers[layer->index - 1], layer,
                          wrote_planar);
        return;
    }
    dn_step *step = add_step(plan, &dn_step_upsample, layer, 1);
    step->enlargement = o->stride;
    step->factors[0] = o->scale;
}

static bool scales_channels(const dn_plan *plan, const dn_layer *layer)
{
    (void)plan;
    return ((const dn_scale_geometry *)layer->state)->kind == DN_SCALE_CHANNEL;
}

static void emit_scale(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                       bool *wrote_planar)
{
    const dn_scale_options *o = layer->options;
    (void)layers, (void)wrote_planar;
    dn_step *step = add_step(plan, &dn_step_scale, layer, 2);
    step->activation = (dn_activation)o->activation;
}

static void emit_activation(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                            bool *wrote_planar)
{
    const dn_activation_options *o = layer->options;
    (void)layers, (void)wrote_planar;
    dn_step *step = add_step(plan, &dn_step_activate, layer, 1);
    step->activation = (dn_activation)o->activation;
}

static void emit_average(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                         bool *wrote_planar)
{
    (void)layers, (void)wrote_planar;
    add_step(plan, &dn_step_average, layer, 1);
}

static void emit_rois(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                      bool *wrote_planar)
{
    (void)layers, (void)wrote_planar;
    dn_plan_emit_rois(plan, layer);
}

static void emit_masks(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                       bool *wrote_planar)
{
    (void)layers;
    *wrote_planar = true;
    dn_plan_emit_masks(plan, layer);
}

/* ---- the table ---- */

static bool always(const dn_plan *plan, const dn_layer *layer)
{
    (void)plan, (void)layer;
    return true;
}

static const struct {
    const dn_layer_type *type;
    bool (*fits)(const dn_plan *plan, const dn_layer *layer);
    void (*emit)(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer, bool *wrote_planar);
} forms[] = {
    {&dn_convolutional_layer, dn_plan_conv_fits, emit_conv},
    {&dn_deconvolutional_layer, dn_plan_deconv_fits, dn_plan_emit_deconv},
    {&dn_shortcut_layer, is_sum_of_two, emit_shortcut},
    {&dn_route_layer, always, emit_route},
    {&dn_maxpool_layer, always, emit_maxpool},
    {&dn_upsample_layer, enlarges, emit_upsample},
    {&dn_scale_channels_layer, scales_channels, emit_scale},
    {&dn_activation_layer, always, emit_activation},
    {&dn_avgpool_layer, always, emit_average},
    {&dn_dropout_layer, always, emit_view},
    {&dn_empty_layer, always, emit_view},
    {&dn_roialign_layer, always, emit_rois},
    {&dn_mask_layer, dn_plan_masks_fit, emit_masks},
    {&dn_yolo_layer, ends_convolution, emit_head},
};

enum { FORM_COUNT = sizeof forms / sizeof forms[0] };

static int32_t form_of(const dn_layer *layer)
{
    int32_t i = 0;
    while (i < FORM_COUNT && forms[i].type != layer->type) i++;
    return i;
}

bool dn_plan_is_convolution(const dn_layer *layer)
{
    return layer->type == &dn_convolutional_layer;
}

bool dn_plan_fits(const dn_plan *plan, const dn_layer *layer)
{
    const int32_t form = form_of(layer);
    return form < FORM_COUNT && forms[form].fits(plan, layer);
}

void dn_plan_emit(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer, bool *wrote_planar)
{
    *wrote_planar = false;
    forms[form_of(layer)].emit(plan, layers, layer, wrote_planar);
}
