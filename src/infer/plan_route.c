/* [route] in the plan. See plan.h.
 *
 * It copies nothing where it can: of one input it is a view; of several, an input whose channels
 * are whole blocks and that has no other place yet is written where the joined tensor has it.
 *
 * On a device one of them may have a place already, at the end of another joined tensor, if none
 * but convolutions read the new one (YOLOv4-tiny's second head does so): the others are written
 * behind it, those that come before it last. Such a tensor's channels lie in a ring, which begins
 * at first_channel; weights are packed in that order.
 */
#include "infer/layer_types.h"
#include "infer/plan.h"
#include "layers/convolutional.h"
#include "layers/route.h"

static int32_t channels_of(const dn_plan *plan, const dn_layer *layer, int32_t k)
{
    return dn_input_shape(layer, plan->network, k)->c;
}

bool dn_plan_view_input(dn_plan *plan, const dn_layer *layer, int32_t from)
{
    const int32_t lanes = plan->lanes;
    dn_plan_tensor *tensor = &plan->tensors[layer->index];
    if (from % lanes != 0) return false;
    tensor->parent = dn_plan_index(plan, layer->inputs[0]);
    tensor->block = from / lanes;
    return true;
}

/* The k-th input's tensor where it has no place yet, else NULL. */
static dn_plan_tensor *placeless(const dn_plan *plan, const dn_layer *layer, int32_t k)
{
    int32_t block;
    dn_plan_tensor *root = dn_plan_root(plan, layer->inputs[k], &block);
    const bool has_place = block != 0 || root->width != channels_of(plan, layer, k) ||
                           root == &plan->tensors[layer->index];
    return has_place ? NULL : root;
}

/* The same where it can be placed at channel `to`, as what lies last in `layer` or not. */
static dn_plan_tensor *placeable(const dn_plan *plan, const dn_layer *layer, int32_t k, int32_t to,
                                 bool last)
{
    const int32_t lanes = plan->lanes;
    const bool fits = to % lanes == 0 && (last || channels_of(plan, layer, k) % lanes == 0);
    return fits ? placeless(plan, layer, k) : NULL;
}

static bool place_inside(dn_plan *plan, const dn_layer *layer, int32_t k, int32_t to, bool last)
{
    dn_plan_tensor *tensor = placeable(plan, layer, k, to, last);
    if (!tensor) return false;
    tensor->parent = layer->index;
    tensor->block = to / plan->lanes;
    return true;
}

static void copy_channels(dn_plan *plan, dn_layer *layer, int32_t k, dn_channel_copy copy)
{
    const int32_t lanes = plan->lanes;
    dn_step *step = dn_plan_add_step(plan, &dn_step_copy, layer);
    step->reads = layer->inputs + k;
    step->read_count = 1;
    step->copy = copy;
    step->first_block = copy.to / lanes;
    step->block_count = dn_blocks(copy.to + copy.count, lanes) - step->first_block;
}

/* ---- rings ---- */

/* Whether all readers are convolutions that read all channels. */
static bool is_read_by_convolutions(const dn_plan *plan, const dn_plan_layer *layers,
                                    const dn_layer *layer)
{
    if (layers[layer->index].needs_planar) return false;
    for (int32_t i = layer->index + 1; i < plan->layer_count; i++) {
        const dn_layer *reader = &plan->network->layers[i];
        for (int32_t k = 0; k < reader->input_count; k++) {
            if (reader->inputs[k] != layer->index) continue;
            if (!dn_plan_is_convolution(reader) || layers[i].way == DN_WAY_PLAIN) return false;
            if (((const dn_convolutional_options *)reader->options)->groups != 1) return false;
        }
    }
    return true;
}

/* Whether the other inputs can be written behind input `first`, which ends another tensor. */
static bool fits_ring(const dn_plan *plan, const dn_layer *layer, int32_t first)
{
    const int32_t count = layer->input_count, lanes = plan->lanes;
    int32_t to = channels_of(plan, layer, first), block;
    const dn_plan_tensor *root = dn_plan_root(plan, layer->inputs[first], &block);
    if (root->width % lanes != 0 || block * lanes + to != root->width) return false;
    for (int32_t i = 1; i < count; i++) {
        const int32_t k = (first + i) % count;
        const dn_plan_tensor *tensor = placeable(plan, layer, k, to, i == count - 1);
        if (!tensor || tensor == root || tensor->images != root->images) return false;
        for (int32_t j = 1; j < i; j++) /* one of them is another, or a view of it */
            if (tensor == dn_plan_root(plan, layer->inputs[(first + j) % count], NULL))
                return false;
        to += channels_of(plan, layer, k);
    }
    return true;
}

static void make_ring(dn_plan *plan, const dn_layer *layer, int32_t first)
{
    const int32_t count = layer->input_count;
    dn_plan_tensor *tensor = &plan->tensors[layer->index];
    dn_plan_tensor *root = dn_plan_root(plan, layer->inputs[first], &tensor->block);
    tensor->parent = (int32_t)(root - plan->tensors);
    for (int32_t k = 0; k < first; k++) tensor->first_channel += channels_of(plan, layer, k);
    int32_t to = channels_of(plan, layer, first);
    for (int32_t i = 1; i < count; i++) {
        const int32_t k = (first + i) % count, c = channels_of(plan, layer, k);
        place_inside(plan, layer, k, to, i == count - 1);
        root->width += c;
        to += c;
    }
}

/* Whether it was joined so: the input that has a place is the only one. */
static bool join_in_ring(dn_plan *plan, const dn_plan_layer *layers, const dn_layer *layer)
{
    int32_t first = -1;
    if (!plan->device || !is_read_by_convolutions(plan, layers, layer)) return false;
    for (int32_t k = 0; k < layer->input_count; k++) {
        if (placeless(plan, layer, k)) continue;
        if (first >= 0) return false;
        first = k;
    }
    if (first < 0 || !fits_ring(plan, layer, first)) return false;
    make_ring(plan, layer, first);
    return true;
}

/* ---- the step ---- */

void dn_plan_emit_route(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer)
{
    const dn_route_options *o = layer->options;
    const int32_t inputs = layer->input_count;
    int32_t to = 0;
    if (inputs > 1 && o->groups == 1 && join_in_ring(plan, layers, layer)) return;
    for (int32_t k = 0; k < inputs; k++) {
        const int32_t count = channels_of(plan, layer, k) / o->groups;
        const int32_t from = o->group_id * count;
        const bool there =
            inputs == 1 ? dn_plan_view_input(plan, layer, from)
                        : o->groups == 1 && place_inside(plan, layer, k, to, k == inputs - 1);
        if (!there) copy_channels(plan, layer, k, (dn_channel_copy){from, to, count});
        to += count;
    }
}
