/* Places for all tensors of the plan, and the steps' operands that lead there. See plan.h.
 *
 * Time is counted in steps. A blocked tensor lives from the first step that writes something of it
 * to the last that reads something; planar ones, layer->out.data, exist only where a step writes
 * or reads them. Layers that run as they are find saved, cache and workspace as they expect.
 */
#include "core/memory.h"
#include "core/placement.h"
#include "infer/plan.h"

typedef struct dn_span {
    int32_t first, last; /* last < 0: never used */
} dn_span;

static void use(int32_t step, int32_t *first, int32_t *last)
{
    if (*last < 0 || step < *first) *first = step;
    if (step > *last) *last = step;
}

static void use_blocked(dn_plan *plan, int32_t layer, int32_t first, int32_t last)
{
    dn_plan_tensor *root = dn_plan_root(plan, layer, NULL);
    use(first, &root->first, &root->last);
    use(last, &root->first, &root->last);
}

static int32_t index_of(const dn_step *step)
{
    return step->layer ? step->layer->index : -1;
}

static bool reads_blocked(const dn_step *step, int32_t k)
{
    return !step->reads_planar || (k > 0 && step->type == &dn_step_conv);
}

/* What rounds read again and again, because it is made before them, stays to their end; the masks,
 * which they write one behind the other, are there from their beginning on. */
static bool in_rounds(const dn_plan *plan, int32_t s)
{
    return plan->rounds.first <= s && s < plan->rounds.end;
}

static int32_t end_of_use(const dn_plan *plan, int32_t layer, int32_t s)
{
    const bool again = in_rounds(plan, s) && layer < plan->rounds.first_layer;
    return again ? plan->rounds.end - 1 : s;
}

static int32_t first_of_round(const dn_plan *plan, int32_t s)
{
    return in_rounds(plan, s) ? plan->rounds.first : s;
}

/* planar: (layer_count), of the layers' planar outputs. */
static void find_spans(dn_plan *plan, dn_span *planar)
{
    const int32_t end = plan->step_count;
    for (int32_t i = 0; i < plan->layer_count; i++) planar[i] = (dn_span){-1, -1};
    for (int32_t s = 0; s < plan->step_count; s++) {
        const dn_step *step = &plan->steps[s];
        if (step->type == &dn_step_link) continue;
        for (int32_t k = 0; k < step->read_count; k++) {
            const int32_t layer = step->reads[k];
            const bool stays = k == 0 && step->type == &dn_step_plain && step->layer->keeps_input;
            if (reads_blocked(step, k))
                use_blocked(plan, layer, s, end_of_use(plan, layer, s));
            else if (layer >= 0)
                use(stays ? end : s, &planar[layer].first, &planar[layer].last);
        }
        if (!step->writes_planar) {
            use_blocked(plan, index_of(step), s, s);
            continue;
        }
        const bool stays = step->layer->keeps_output || step->layer->index == plan->layer_count - 1;
        dn_span *span = &planar[step->layer->index];
        use(step->type == &dn_step_masks ? first_of_round(plan, s) : s, &span->first, &span->last);
        if (stays) use(end, &span->first, &span->last);
    }
}

static int64_t tensor_floats(const dn_plan *plan, const dn_plan_tensor *tensor)
{
    const int32_t lanes = plan->lanes;
    const dn_blocked *view = &tensor->view;
    const int64_t values =
        (int64_t)dn_blocks(tensor->width, lanes) * lanes * view->h * view->w * tensor->images;
    return plan->device ? (values + 1) / 2 : values; /* of 16 bits */
}

static int64_t rounded(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Sets how the workspace is divided; returns its floats. */
static int64_t size_workspace(dn_plan *plan)
{
    int64_t plain = 0;
    plan->shared_bytes = plan->scratch_bytes = 0;
    for (int32_t s = 0; s < plan->step_count; s++) {
        const dn_step *step = &plan->steps[s];
        if (step->type == &dn_step_plain) plain = larger(plain, step->layer->workspace_floats);
        if (step->form)
            plan->shared_bytes =
                larger(plan->shared_bytes, rounded(step->form->shared_bytes(&step->call.problem)));
        if (step->type->scratch_bytes && !plan->device)
            plan->scratch_bytes =
                larger(plan->scratch_bytes, rounded(step->type->scratch_bytes(step)));
    }
    const int64_t bytes = plan->shared_bytes + plan->network->options.threads * plan->scratch_bytes;
    return larger(plain, bytes / (int64_t)sizeof(float));
}

static void list(dn_plan *plan, const dn_span *planar, dn_placement *placement)
{
    const int32_t end = plan->step_count;
    for (int32_t i = 0; i <= plan->layer_count; i++) {
        dn_plan_tensor *tensor = &plan->tensors[i];
        if (tensor->parent < 0 && tensor->last >= 0)
            dn_placement_add(placement, &tensor->memory, tensor_floats(plan, tensor), tensor->first,
                             tensor->last);
    }
    for (int32_t i = 0; i < plan->layer_count; i++) {
        dn_layer *layer = &plan->network->layers[i];
        layer->out.data = layer->saved = layer->cache = NULL;
        if (planar[i].last >= 0)
            dn_placement_add(placement, &layer->out.data,
                             layer->out.n * dn_tensor_size(&layer->out), planar[i].first,
                             planar[i].last);
    }
    for (int32_t s = 0; s < plan->step_count; s++) {
        const dn_step *step = &plan->steps[s];
        if (step->type != &dn_step_plain) continue;
        dn_layer *layer = step->layer;
        if (layer->saved_floats)
            dn_placement_add(placement, &layer->saved, layer->saved_floats, s,
                             planar[layer->index].last);
        if (layer->cache_floats)
            dn_placement_add(placement, &layer->cache, layer->cache_floats, 0, end);
    }
    dn_placement_add(placement, &plan->workspace, size_workspace(plan), 0, end);
}

dn_blocked dn_plan_view(const dn_plan *plan, int32_t layer)
{
    int32_t block;
    const dn_plan_tensor *root = dn_plan_root(plan, layer, &block);
    const int64_t plane = (int64_t)root->view.h * root->view.w;
    const int32_t lanes = plan->lanes;
    dn_blocked view = plan->tensors[dn_plan_index(plan, layer)].view;
    if (plan->device)
        view.data = root->memory + (int64_t)block * lanes / 2; /* a block of 16 bits a value */
    else
        view.data = root->memory + block * plane * lanes;
    view.image_stride = dn_blocks(root->width, lanes) * plane * lanes;
    return view;
}

static void lead_steps(dn_plan *plan)
{
    for (int32_t s = 0; s < plan->step_count; s++) {
        dn_step *step = &plan->steps[s];
        if (step->type == &dn_step_link) continue;
        for (int32_t k = 0; k < step->read_count && k < 2; k++)
            if (reads_blocked(step, k)) step->in[k] = dn_plan_view(plan, step->reads[k]);
        if (step->writes_planar) continue;
        step->out = dn_plan_view(plan, index_of(step));
        if (step->block_count == 0) step->block_count = dn_blocks(step->out.c, plan->lanes);
    }
}

static dn_status reserve(dn_plan *plan)
{
    const size_t bytes = (size_t)plan->arena_bytes;
    void *arena = NULL;
    if (plan->device)
        DN_TRY(plan->network->backend->alloc(bytes, &arena));
    else
        arena = dn_alloc_unset(bytes);
    plan->arena = arena;
    return arena ? DN_OK : DN_ERROR_MEMORY;
}

/* The last item is the workspace. */
static int64_t largest_sum(const dn_plan *plan, const dn_placement *placement)
{
    int64_t most = 0;
    for (int32_t moment = 0; moment <= plan->step_count; moment++) {
        int64_t floats = 0;
        for (int32_t i = 0; i + 1 < placement->count; i++) {
            const dn_placed *item = &placement->items[i];
            if (item->first <= moment && moment <= item->last) floats += item->floats;
        }
        most = larger(most, floats);
    }
    return most;
}

static dn_status place(dn_plan *plan, dn_span *planar, dn_placement *placement)
{
    int64_t floats;
    find_spans(plan, planar);
    list(plan, planar, placement);
    plan->live_bytes = largest_sum(plan, placement) * (int64_t)sizeof(float);
    DN_TRY(dn_placement_find(placement, &floats));
    plan->arena_bytes = floats * (int64_t)sizeof(float);
    DN_TRY(reserve(plan));
    dn_placement_point(placement, plan->arena);
    lead_steps(plan);
    if (!plan->device) plan->network->arena_floats = floats;
    return DN_OK;
}

dn_status dn_plan_place(dn_plan *plan)
{
    dn_placement placement = {0};
    dn_span *planar = dn_alloc((size_t)plan->layer_count * sizeof *planar);
    dn_status status = planar ? DN_OK : DN_ERROR_MEMORY;
    if (status == DN_OK) status = dn_placement_create(&placement, 4 * plan->layer_count + 2);
    if (status == DN_OK) status = place(plan, planar, &placement);
    dn_placement_free(&placement);
    dn_free(planar);
    return status;
}
