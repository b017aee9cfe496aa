/* The plan's convolutions on CUDA: their calls, and packed weights. See plan.h. */
#include "plan.h"

static int64_t pixel_of(const dn_blocked *view)
{
    return view->image_stride / ((int64_t)view->h * view->w);
}

void dn_plan_fill_conv(const dn_plan *plan, const dn_step *step, dn_half_conv *call)
{
    const dn_conv_problem *problem = &step->call.problem;
    const dn_conv_geometry *g = &problem->geometry;
    const dn_layer *layer = &plan->network->layers[step->first_layer];
    *call = {};
    call->bf16 = dn_cuda_plan_of(plan)->bf16;
    call->groups = problem->groups;
    call->c = problem->planar_in ? g->c : (g->c + 7) / 8 * 8;
    call->h = g->h;
    call->w = g->w;
    call->size = g->size;
    call->stride_x = g->stride_x;
    call->stride_y = g->stride_y;
    call->pad = g->pad;
    call->dilation = g->dilation;
    call->out_h = g->out_h;
    call->out_w = g->out_w;
    call->filters = problem->filters;
    call->enlargement = step->enlargement > 0 ? step->enlargement : 1;
    call->activation = problem->activation;
    call->after_add = problem->after_add;
    call->planar_in = problem->planar_in;
    call->planar_out = problem->planar_out;
    call->k = dn_half_conv_k(problem);
    if (problem->planar_in) {
        const int32_t from = layer->inputs[0];
        call->in = from < 0 ? plan->network->input.data : plan->network->layers[from].out.data;
    } else {
        call->in = step->in[0].data;
        call->in_pixel = pixel_of(&step->in[0]);
    }
    if (problem->adds) {
        call->add = step->in[1].data;
        call->add_pixel = pixel_of(&step->in[1]);
    }
    call->out = problem->planar_out ? step->layer->out.data : step->out.data;
    if (!problem->planar_out) call->out_pixel = pixel_of(&step->out);
}

static size_t rounded(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

/* Leads every call to its part of the block; the bytes of all. */
static size_t lay_out(const dn_plan *plan, char *block)
{
    size_t bytes = 0;
    for (int32_t s = 0; s < plan->step_count; s++) {
        if (plan->steps[s].type != &dn_step_conv) continue;
        dn_half_conv *call = &dn_cuda_plan_of(plan)->convs[s].call;
        const size_t filters = (size_t)call->groups * (size_t)call->filters;
        if (block) {
            call->weights = block + bytes;
            call->shift =
                (const float *)(void *)(block + bytes + rounded(filters * (size_t)call->k * 2));
        }
        bytes += rounded(filters * (size_t)call->k * 2) + rounded((filters + 7) * sizeof(float));
    }
    return bytes;
}

static dn_half_source source_of(const dn_plan *plan, const dn_step *step)
{
    const dn_param *weights;
    const dn_output_stage *stage = dn_plan_stage(plan, step, &weights);
    dn_half_source source = {};
    source.channels = step->call.problem.geometry.c;
    source.weights = weights->data;
    source.biases = stage->biases->data;
    if (!stage->batch_normalize) return source;
    source.scales = stage->scales->data;
    source.mean = stage->mean->data;
    source.variance = stage->variance->data;
    return source;
}

dn_status dn_cuda_plan_pack(dn_plan *plan)
{
    dn_cuda_plan *own = dn_cuda_plan_of(plan);
    if (!own->packed) {
        DN_TRY(plan->network->backend->alloc(lay_out(plan, nullptr), &own->packed));
        lay_out(plan, (char *)own->packed);
    }
    for (int32_t s = 0; s < plan->step_count; s++) {
        if (plan->steps[s].type != &dn_step_conv) continue;
        const dn_half_source source = source_of(plan, &plan->steps[s]);
        DN_TRY(dn_half_conv_pack(&own->convs[s].call, &source));
    }
    return DN_OK;
}
