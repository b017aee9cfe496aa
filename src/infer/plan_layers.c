/* The steps of layers with a blocked form. See plan.h.
 *
 * Those of [route], which mostly are none: plan_route.c. [dropout] and [empty] are views, too.
 */
#include "infer/layer_types.h"
#include "infer/plan.h"
#include "layers/activation.h"
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

static void emit_route(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                       bool *wrote_planar)
{
    (void)wrote_planar;
    dn_plan_emit_route(plan, layers, layer);
}

static void emit_view(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                      bool *wrote_planar)
{
    (void)layers, (void)wrote_planar;
    dn_plan_view_input(plan, layer, 0);
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
