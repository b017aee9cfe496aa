/* Which way each layer goes, and the order of the steps. See plan.h.
 *
 * Convolutions and [roialign] go the blocked way wherever a form fits; cheap layers follow their
 * inputs, so that nothing is reordered only to be pooled. Then it is known who reads which form of
 * each tensor, and the steps are made in the order of the layers, reorders right behind what makes
 * the values.
 */
#include "core/memory.h"
#include "infer/layer_types.h"
#include "infer/plan.h"

dn_plan_tensor *dn_plan_root(const dn_plan *plan, int32_t layer, int32_t *block)
{
    dn_plan_tensor *tensor = &plan->tensors[dn_plan_index(plan, layer)];
    int32_t begin = 0;
    for (; tensor->parent >= 0; tensor = &plan->tensors[tensor->parent]) begin += tensor->block;
    if (block) *block = begin;
    return tensor;
}

dn_step *dn_plan_add_step(dn_plan *plan, const dn_step_type *type, dn_layer *layer)
{
    dn_step *step = &plan->steps[plan->step_count++];
    step->type = type;
    step->kernels = plan->kernels;
    step->layer = layer;
    step->first_layer = layer ? layer->index : -1;
    step->reads = step->own_reads;
    return step;
}

static void describe_tensors(dn_plan *plan)
{
    for (int32_t i = 0; i <= plan->layer_count; i++) {
        const dn_layer *layer = i < plan->layer_count ? &plan->network->layers[i] : NULL;
        const dn_tensor *of = layer ? &layer->out : &plan->network->input;
        plan->tensors[i] = (dn_plan_tensor){
            .view = {.c = of->c, .h = of->h, .w = of->w},
            .images = layer ? dn_plan_images(plan, layer) : of->n,
            .parent = -1,
            .width = of->c,
            .first = -1,
            .last = -1,
        };
    }
}

static bool reads_blocked(const dn_plan_layer *layers, const dn_layer *layer)
{
    for (int32_t k = 0; k < layer->input_count; k++)
        if (layer->inputs[k] >= 0 && layers[layer->inputs[k]].way != DN_WAY_PLAIN) return true;
    return false;
}

/* Makes layers first..last-1 part of `last`, where nobody else reads them. */
static bool fuse(const dn_plan *plan, dn_plan_layer *layers, int32_t last, int32_t first)
{
    if (first < 0) return false;
    for (int32_t i = first; i < last; i++)
        if (layers[i].way != DN_WAY_BLOCKED || layers[i].consumers != 1 ||
            plan->network->layers[i].keeps_output)
            return false;
    for (int32_t i = first; i < last; i++) layers[i].way = DN_WAY_FUSED;
    return true;
}

/* Whether it has a form but as part of a convolution's. */
static bool has_own_step(const dn_layer *layer)
{
    return layer->type != &dn_mask_layer && layer->type != &dn_yolo_layer;
}

static void choose_ways(const dn_plan *plan, dn_plan_layer *layers)
{
    const dn_network *network = plan->network;
    for (int32_t i = 0; i < plan->layer_count; i++) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->input_count; k++)
            layers[dn_plan_index(plan, layer->inputs[k])].consumers++;
        if (!dn_plan_fits(plan, layer)) continue;
        const bool pays = dn_plan_is_convolution(layer) || layer->type == &dn_roialign_layer;
        if (pays || reads_blocked(layers, layer)) layers[i].way = DN_WAY_BLOCKED;
    }
    for (int32_t i = 0; i < plan->layer_count; i++) {
        if (layers[i].way != DN_WAY_BLOCKED) continue;
        const bool fused = fuse(plan, layers, i, dn_plan_fusable(plan, &network->layers[i]));
        if (!fused && !has_own_step(&network->layers[i])) layers[i].way = DN_WAY_PLAIN;
    }
}

static void find_needs(const dn_plan *plan, dn_plan_layer *layers)
{
    const dn_network *network = plan->network;
    for (int32_t i = 0; i < plan->layer_count; i++) {
        const dn_layer *layer = &network->layers[i];
        if (layer->keeps_output || i == plan->layer_count - 1) layers[i].needs_planar = true;
        for (int32_t k = 0; k < layer->input_count; k++) {
            dn_plan_layer *input = &layers[dn_plan_index(plan, layer->inputs[k])];
            if (input->way == DN_WAY_FUSED) continue;
            if (layers[i].way == DN_WAY_PLAIN || dn_plan_conv_reads_planar(plan, layer))
                input->needs_planar = true;
            else
                input->needs_blocked = true;
        }
    }
}

static void add_reorder(dn_plan *plan, const dn_step_type *type, dn_layer *layer)
{
    dn_step *step = dn_plan_add_step(plan, type, layer);
    step->own_reads[0] = layer ? layer->index : -1;
    step->read_count = 1;
    step->reads_planar = type == &dn_step_to_blocked;
    step->writes_planar = type == &dn_step_to_planar;
}

static void add_plain(dn_plan *plan, dn_layer *layer)
{
    dn_step *step = dn_plan_add_step(plan, &dn_step_plain, layer);
    step->reads = layer->inputs;
    step->read_count = layer->input_count;
    step->reads_planar = step->writes_planar = true;
}

/* On a device heads that no layer reads run together, where the last of them stands, so that the
 * steps before can be launched at once. */
static bool is_late(const dn_plan *plan, const dn_plan_layer *layers, int32_t i)
{
    return plan->device && layers[i].way == DN_WAY_PLAIN && layers[i].consumers == 0 &&
           plan->network->layers[i].type->detect && i < dn_network_detector_end(plan->network) - 1;
}

static void add_late(dn_plan *plan, const dn_plan_layer *layers)
{
    for (int32_t i = 0; i < plan->layer_count; i++)
        if (is_late(plan, layers, i)) add_plain(plan, &plan->network->layers[i]);
}

static void make_steps(dn_plan *plan, const dn_plan_layer *layers)
{
    const int32_t last_head = dn_network_detector_end(plan->network) - 1;
    const int32_t branch = dn_network_branch(plan->network);
    if (layers[plan->layer_count].needs_blocked) add_reorder(plan, &dn_step_to_blocked, NULL);
    for (int32_t i = 0; i < plan->layer_count; i++) {
        dn_layer *layer = &plan->network->layers[i];
        bool wrote_planar = true;
        if (plan->device && i == branch) dn_plan_emit_boxes(plan);
        if (layers[i].way == DN_WAY_FUSED || is_late(plan, layers, i)) continue;
        if (i == last_head) add_late(plan, layers);
        if (layers[i].way == DN_WAY_PLAIN)
            add_plain(plan, layer);
        else
            dn_plan_emit(plan, layers, layer, &wrote_planar);
        if (wrote_planar && layers[i].needs_blocked) add_reorder(plan, &dn_step_to_blocked, layer);
        if (!wrote_planar && layers[i].needs_planar) add_reorder(plan, &dn_step_to_planar, layer);
    }
}

/* A device's own part of the layers that run as they are, of heads and of [roialign]. */
static dn_status set_up_plain(dn_plan *plan)
{
    dn_network *network = plan->network;
    for (int32_t s = 0; s < plan->step_count; s++) {
        const dn_step *step = &plan->steps[s];
        if (step->type != &dn_step_plain && step->type != &dn_step_boxes && !step->head) continue;
        const dn_layer_kernels *kernels = network->backend->kernels(step->layer->type);
        if (kernels->setup) DN_TRY(kernels->setup(step->layer, network));
    }
    return DN_OK;
}

dn_status dn_plan_compile(dn_plan *plan)
{
    const size_t count = (size_t)plan->layer_count + 1;
    size_t capacity = 1;
    for (int32_t i = 0; i < plan->layer_count; i++)
        capacity += 3 + (size_t)plan->network->layers[i].input_count;
    plan->tensors = dn_alloc(count * sizeof *plan->tensors);
    plan->steps = dn_alloc(capacity * sizeof *plan->steps);
    dn_plan_layer *layers = dn_alloc(count * sizeof *layers);
    const bool whole = plan->tensors && plan->steps && layers;
    if (whole) {
        choose_ways(plan, layers);
        find_needs(plan, layers);
        dn_plan_find_rounds(plan, layers);
        describe_tensors(plan);
        make_steps(plan, layers);
        dn_plan_join_chains(plan, layers);
        dn_plan_place_rounds(plan);
    }
    dn_free(layers);
    if (!whole) return DN_ERROR_MEMORY;
    return plan->device ? set_up_plain(plan) : dn_plan_tune(plan);
}
