/* [roialign] in the plan: a step chooses the boxes as the layer does, then one step for each of its
 * maps pools them into the blocked output, adding to what the maps before gave; on a device one
 * step for all, and the boxes are chosen right behind the heads. See plan.h. */
#include "infer/plan.h"
#include "layers/roialign.h"

#include <string.h>

static dn_status choose_begin(dn_plan *plan, dn_step *step, const dn_pass *pass)
{
    (void)plan;
    return dn_roialign_choose(step->layer, pass);
}

/* A task does some blocks of channels of all boxes. */
enum { DN_TASKS_A_THREAD = 2 };

static int32_t pool_tasks(dn_step *step, int32_t phase, int32_t threads)
{
    (void)phase;
    const int32_t most = DN_TASKS_A_THREAD * threads, blocks = step->block_count;
    step->cut.blocks = (blocks + most - 1) / most;
    return (blocks + step->cut.blocks - 1) / step->cut.blocks;
}

/* The bins of a box that is pooled from other maps only. */
static void clear(const dn_step *step, int32_t roi, int32_t first, int32_t last)
{
    const int32_t lanes = step->kernels->lanes;
    float *to = dn_block_row(&step->out, roi, first, 0, lanes);
    const int64_t floats = (int64_t)(last - first) * step->out.h * step->out.w * lanes;
    memset(to, 0, (size_t)floats * sizeof *to);
}

static void add_box(dn_roi_bins_call *call, const dn_roi *roi, int32_t r)
{
    float *box = call->boxes[call->count].box;
    box[0] = roi->expanded.x0;
    box[1] = roi->expanded.y0;
    box[2] = roi->expanded.x1;
    box[3] = roi->expanded.y1;
    call->boxes[call->count].image = roi->image;
    call->boxes[call->count++].roi = r;
}

static void pool_run(const dn_step *step, int32_t phase, int32_t task, void *scratch)
{
    const int32_t first = task * step->cut.blocks, end = first + step->cut.blocks;
    const int32_t last = end < step->block_count ? end : step->block_count;
    const dn_roi *rois = step->layer->rois->rois + step->first_image;
    dn_roi_bins_call call = {.pool = step->roi_pool, .map = step->roi_map, .add = step->level > 0};
    (void)phase;
    for (int32_t r = 0; r < step->images; r++) {
        if (rois[r].level < 0 || rois[r].level == step->level)
            add_box(&call, &rois[r], r);
        else if (step->level == 0)
            clear(step, r, first, last);
        if (call.count < DN_ROIS_AT_ONCE && r + 1 < step->images) continue;
        step->kernels->roi_bins(&call, &step->in[0], &step->out, first, last, scratch);
        call.count = 0;
    }
}

static int64_t pool_scratch(const dn_step *step)
{
    return step->kernels->roi_bins_scratch(&step->roi_pool, step->roi_map.h);
}

const dn_step_type dn_step_boxes = {.name = "boxes", .begin = choose_begin};
const dn_step_type dn_step_rois = {
    .name = "roialign", .tasks = pool_tasks, .run = pool_run, .scratch_bytes = pool_scratch};

void dn_plan_emit_boxes(dn_plan *plan)
{
    dn_network *network = plan->network;
    dn_plan_add_step(plan, &dn_step_boxes, &network->layers[dn_network_roialign(network)]);
}

void dn_plan_emit_rois(dn_plan *plan, dn_layer *layer)
{
    const int32_t at_once = plan->device ? layer->input_count : 1;
    const bool early = plan->device && layer->index == dn_network_roialign(plan->network);
    if (!early) dn_plan_add_step(plan, &dn_step_boxes, layer);
    for (int32_t k = 0; k < layer->input_count; k += at_once) {
        dn_step *step = dn_plan_add_step(plan, &dn_step_rois, layer);
        step->reads = layer->inputs + k;
        step->read_count = at_once;
        step->level = k;
        step->roi_pool = dn_roialign_pool(layer);
        step->roi_map = dn_roialign_map(layer, plan->network, k);
    }
}
