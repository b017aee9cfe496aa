/* The end of the mask branch in the plan, and its rounds. See plan.h.
 *
 * [mask] and the 1x1 convolution before it are one step. A branch with a mask a class computes, of
 * the convolution, only the filters that somebody reads: of each RoI's class, and of the other
 * classes of which its box gives an instance (dn_roi_set.extras).
 *
 * From [roialign] to [mask] everything runs for some RoIs at a time, a round: so many that a
 * layer's input and output stay in a share of the last cache, while the weights, which are read
 * once a round, still serve several RoIs.
 */
#include "infer/layer_types.h"
#include "infer/plan.h"
#include "layers/convolutional.h"
#include "layers/mask.h"

#include <string.h>

/* ---- [mask] ---- */

static const dn_layer *logits_of(const dn_plan *plan, const dn_layer *mask)
{
    return &plan->network->layers[mask->inputs[0]];
}

bool dn_plan_masks_fit(const dn_plan *plan, const dn_layer *layer)
{
    const dn_layer *logits = logits_of(plan, layer);
    const dn_convolutional_options *o = logits->options;
    const dn_convolutional *state = logits->state;
    const dn_conv_geometry *g = &state->geometry;
    return o->groups == 1 && !state->stage.batch_normalize && g->size == 1 && g->stride_x == 1 &&
           g->stride_y == 1 && g->pad == 0;
}

static dn_status masks_begin(dn_plan *plan, dn_step *step, const dn_pass *pass)
{
    (void)plan;
    if (step->first_image > 0) return DN_OK;
    step->layer->loss = 0;
    DN_TRY(dn_mask_check_rois(step->layer, pass));
    return dn_mask_begin_extras(step->layer, &step->planar);
}

/* Besides the RoIs' own classes, the extras of this round: they follow those of the one before. */
static int32_t masks_tasks(dn_step *step, int32_t phase, int32_t threads)
{
    const dn_roi_set *set = step->layer->rois;
    int32_t first = step->first_image > 0 ? step->first_extra : 0, last;
    (void)phase, (void)threads;
    while (first < set->extra_count && set->extras[first].roi < step->first_image) first++;
    for (last = first; last < set->extra_count; last++)
        if (set->extras[last].roi >= step->first_image + step->images) break;
    step->first_extra = first;
    return step->images + last - first;
}

/* A task is one plane: first those of the RoIs' own classes, then the extras. */
static void masks_run(const dn_step *step, int32_t phase, int32_t task, void *scratch)
{
    const dn_layer *layer = step->layer, *logits = step->logits;
    const dn_convolutional *state = logits->state;
    const int64_t cells = dn_tensor_size(&layer->out);
    const int32_t channels = state->geometry.c, lanes = step->kernels->lanes;
    int32_t roi = step->first_image + task, channel;
    float *out = layer->out.data + roi * cells, *weights = scratch;
    (void)phase;
    if (task < step->images) {
        channel = dn_mask_channel(layer, roi);
    } else {
        const int32_t index = step->first_extra + task - step->images;
        const dn_roi_extra *extra = &layer->rois->extras[index];
        roi = extra->roi;
        channel = extra->class_id;
        out = step->planar + index * cells;
    }
    memcpy(weights, state->weights->data + (int64_t)channel * channels,
           (size_t)channels * sizeof *weights);
    for (int32_t c = channels; c < dn_blocks(channels, lanes) * lanes; c++) weights[c] = 0.0f;
    step->kernels->mask_logits(&step->in[0], roi - step->first_image, weights,
                               state->stage.biases->data[channel], out);
    dn_activate_array(DN_ACTIVATION_logistic, out, out, cells);
}

static int64_t masks_scratch(const dn_step *step)
{
    const dn_convolutional *state = step->logits->state;
    const int32_t lanes = step->kernels->lanes;
    return (int64_t)dn_blocks(state->geometry.c, lanes) * lanes * (int64_t)sizeof(float);
}

const dn_step_type dn_step_masks = {.name = "masks",
                                    .begin = masks_begin,
                                    .tasks = masks_tasks,
                                    .run = masks_run,
                                    .scratch_bytes = masks_scratch};

void dn_plan_emit_masks(dn_plan *plan, dn_layer *layer)
{
    const dn_layer *logits = logits_of(plan, layer);
    dn_step *step = dn_plan_add_step(plan, &dn_step_masks, layer);
    step->first_layer = logits->index;
    step->reads = logits->inputs;
    step->read_count = 1;
    step->writes_planar = true;
    step->logits = logits;
    layer->rois->lists_extras = ((const dn_mask_options *)layer->options)->classes > 1;
}

/* ---- rounds ---- */

enum { DN_ROUND_BYTES = 18 << 20, DN_ROUND_LEAST = 4 /* RoIs */ };

int32_t dn_plan_images(const dn_plan *plan, const dn_layer *layer)
{
    const dn_rounds *rounds = &plan->rounds;
    const bool inside = rounds->first_layer <= layer->index && layer->index < rounds->last_layer;
    return inside ? rounds->images : layer->out.n;
}

/* Whether layers first..last-1 are a branch of blocked steps that nobody looks into. */
static bool is_closed(const dn_plan *plan, const dn_plan_layer *layers, int32_t first, int32_t last)
{
    const dn_network *network = plan->network;
    for (int32_t i = first; i < last; i++)
        if (layers[i].way == DN_WAY_PLAIN || layers[i].needs_planar ||
            network->layers[i].rois != network->layers[first].rois)
            return false;
    for (int32_t i = last + 1; i < plan->layer_count; i++)
        for (int32_t k = 0; k < network->layers[i].input_count; k++)
            if (network->layers[i].inputs[k] >= first && network->layers[i].inputs[k] < last)
                return false;
    return true;
}

/* Of one RoI: the largest output with the one before it. */
static int64_t most_bytes(const dn_network *network, int32_t first, int32_t last)
{
    int64_t most = 0, before = 0;
    for (int32_t i = first; i < last; i++) {
        const int64_t floats = dn_tensor_size(&network->layers[i].out);
        if (before + floats > most) most = before + floats;
        before = floats;
    }
    return most * (int64_t)sizeof(float);
}

void dn_plan_find_rounds(dn_plan *plan, const dn_plan_layer *layers)
{
    const dn_network *network = plan->network;
    int32_t first = -1, last = -1;
    if (plan->device) return; /* whose memory is as fast for all of them */
    for (int32_t i = 0; i < plan->layer_count; i++) {
        if (network->layers[i].type == &dn_roialign_layer) first = i;
        if (network->layers[i].type == &dn_mask_layer && layers[i].way == DN_WAY_BLOCKED) last = i;
    }
    if (first < 0 || last < first || !is_closed(plan, layers, first, last)) return;
    int64_t images = DN_ROUND_BYTES / most_bytes(network, first, last);
    if (images < DN_ROUND_LEAST) images = DN_ROUND_LEAST;
    if (images >= network->layers[first].out.n) return;
    plan->rounds = (dn_rounds){.first_layer = first, .last_layer = last, .images = (int32_t)images};
}

void dn_plan_place_rounds(dn_plan *plan)
{
    dn_rounds *rounds = &plan->rounds;
    if (rounds->images == 0) return;
    while (plan->steps[rounds->first].type != &dn_step_rois) rounds->first++;
    rounds->end = rounds->first;
    while (plan->steps[rounds->end++].type != &dn_step_masks) {
    }
}
