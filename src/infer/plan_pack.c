/* The plan's packed weights: made from the network's, kept for another input size. See plan.h. */
#include "core/memory.h"
#include "core/params.h"
#include "infer/plan.h"
#include "layers/convolutional.h"
#include "layers/deconvolutional.h"

#include <string.h>

/* Problem for as many images as the network can have. */
static dn_conv_problem whole_problem(const dn_plan *plan, const dn_step *step)
{
    dn_conv_problem problem = step->call.problem;
    problem.images = dn_plan_images(plan, &plan->network->layers[step->first_layer]);
    return problem;
}

/* Memory for each step's packed weights, where it has none, and for the shifts of all. */
static dn_status reserve(dn_plan *plan)
{
    int64_t shifts = 0;
    const int32_t lanes = plan->kernels->lanes;
    for (int32_t i = 0; i < plan->step_count; i++) {
        dn_step *step = &plan->steps[i];
        if (!step->form) continue;
        const dn_conv_problem problem = whole_problem(plan, step);
        step->packed_bytes = step->form->packed_bytes(&problem);
        if (!step->packed) step->packed = dn_alloc_unset((size_t)step->packed_bytes);
        if (!step->packed) return DN_ERROR_MEMORY;
        shifts += dn_blocks(problem.groups * problem.filters, lanes) * lanes;
    }
    if (!plan->shifts) plan->shifts = dn_alloc((size_t)shifts * sizeof *plan->shifts);
    if (!plan->shifts) return DN_ERROR_MEMORY;
    float *shift = plan->shifts;
    for (int32_t i = 0; i < plan->step_count; i++) {
        dn_step *step = &plan->steps[i];
        if (!step->form) continue;
        const dn_conv_problem *problem = &step->call.problem;
        step->shift = shift;
        shift += dn_blocks(problem->groups * problem->filters, lanes) * lanes;
    }
    return DN_OK;
}

void dn_plan_take_packed(dn_plan *plan, dn_plan *old)
{
    const dn_network *network = plan->network;
    const bool same =
        old->weights[0] == network->weights_version && old->weights[1] == network->frozen_version;
    for (int32_t i = 0; i < plan->step_count; i++)
        for (int32_t k = 0; k < old->step_count; k++) {
            dn_step *step = &plan->steps[i], *from = &old->steps[k];
            if (!step->form || !from->packed || step->form != from->form ||
                step->first_layer != from->first_layer)
                continue;
            const dn_conv_problem problem = whole_problem(plan, step);
            if (step->form->packed_bytes(&problem) != from->packed_bytes) continue;
            step->packed = from->packed;
            step->is_packed = same;
            from->packed = NULL;
        }
}

const dn_output_stage *dn_plan_stage(const dn_plan *plan, const dn_step *step,
                                     const dn_param **weights)
{
    const void *state = plan->network->layers[step->first_layer].state;
    if (step->enlargement > 0) {
        const dn_deconvolutional *deconvolutional = state;
        *weights = deconvolutional->weights;
        return &deconvolutional->stage;
    }
    const dn_convolutional *convolutional = state;
    *weights = convolutional->weights;
    return &convolutional->stage;
}

/* Memory for packing, of the size that the largest step needs. */
typedef struct dn_pack_room {
    int64_t filters, weights;
    float *factor; /* (filters) */
    float *values; /* (weights): those that the network keeps in their file */
} dn_pack_room;

static dn_status pack_step(const dn_plan *plan, const dn_step *step, const dn_pack_room *room)
{
    const dn_layer *layer = &plan->network->layers[step->first_layer];
    const dn_param *weights;
    const dn_output_stage *stage = dn_plan_stage(plan, step, &weights);
    const dn_conv_problem problem = whole_problem(plan, step);
    if (stage->batch_normalize)
        dn_stage_fold(layer, stage, room->factor, step->shift);
    else
        memcpy(step->shift, stage->biases->data, (size_t)layer->out.c * sizeof(float));
    if (step->is_packed) return DN_OK;
    const float *values;
    DN_TRY(dn_params_read(plan->network, weights, room->values, &values));
    dn_conv_form_pack(step->form, &problem, values, stage->batch_normalize ? room->factor : NULL,
                      plan->network->options.threads, step->packed);
    return DN_OK;
}

static const dn_step *packing_step(const dn_plan *plan, int32_t layer)
{
    for (int32_t i = 0; i < plan->step_count; i++) {
        const dn_step *step = &plan->steps[i];
        if (step->logits && step->logits->index == layer) return NULL; /* reads them as they are */
        if (step->form && step->first_layer == layer) return step;
    }
    return NULL;
}

/* Layers that are not packed read their parameters in every pass. */
static dn_status bring_others(const dn_plan *plan)
{
    const dn_network *network = plan->network;
    for (int32_t i = 0; i < plan->layer_count; i++)
        if (network->layers[i].param_count > 0 && !packing_step(plan, i))
            return dn_params_here(plan->network);
    return DN_OK;
}

static dn_status make_room(const dn_plan *plan, dn_pack_room *room)
{
    for (int32_t i = 0; i < plan->network->layer_count; i++)
        for (int32_t k = 0; k < plan->network->layers[i].param_count; k++) {
            const dn_param *param = &plan->network->layers[i].params[k];
            if (param->count > room->weights) room->weights = param->count;
            if (param->outputs > room->filters) room->filters = param->outputs;
        }
    room->factor = dn_alloc((size_t)room->filters * sizeof *room->factor);
    room->values = dn_alloc_unset((size_t)room->weights * sizeof *room->values);
    return room->factor && room->values ? DN_OK : DN_ERROR_MEMORY;
}

static dn_status pack_all(dn_plan *plan, const dn_pack_room *room)
{
    for (int32_t i = 0; i < plan->step_count; i++)
        if (plan->steps[i].form) DN_TRY(pack_step(plan, &plan->steps[i], room));
    for (int32_t i = 0; i < plan->step_count; i++) {
        plan->steps[i].was_kept = plan->steps[i].is_packed;
        plan->steps[i].is_packed = false;
    }
    return DN_OK;
}

dn_status dn_plan_pack(dn_plan *plan)
{
    dn_pack_room room = {0};
    if (!plan->network->param_file) DN_TRY(dn_params_here(plan->network));
    DN_TRY(bring_others(plan));
    DN_TRY(reserve(plan));
    dn_status status = make_room(plan, &room);
    if (status == DN_OK) status = pack_all(plan, &room);
    dn_free(room.factor);
    dn_free(room.values);
    return status;
}
