/* The plan's convolutions on CUDA: their calls, and packed weights. See plan.h. */
#include "plan.h"

#include "layers/yolo.h"

static int64_t pixel_of(const dn_blocked *view)
{
    return view->image_stride / ((int64_t)view->h * view->w);
}

static int32_t in_eights(int32_t channels)
{
    return (channels + 7) / 8 * 8;
}

/* Of [mask]: what packing asks of the convolution before it. */
static void fill_masks(const dn_plan *plan, const dn_step *step, dn_half_conv *call)
{
    call->bf16 = dn_cuda_plan_of(plan)->bf16;
    call->groups = call->size = call->enlargement = 1;
    call->c = call->k = in_eights(step->in[0].c);
    call->filters = step->logits->out.c;
}

bool dn_plan_has_weights(const dn_step *step)
{
    return step->type == &dn_step_conv || step->type == &dn_step_masks;
}

void dn_plan_fill_conv(const dn_plan *plan, const dn_step *step, dn_half_conv *call)
{
    const dn_conv_problem *problem = &step->call.problem;
    const dn_conv_geometry *g = &problem->geometry;
    *call = {};
    if (step->type == &dn_step_masks) return fill_masks(plan, step, call);
    call->bf16 = dn_cuda_plan_of(plan)->bf16;
    call->depthwise = dn_half_is_depthwise(problem);
    call->groups = call->depthwise ? 1 : problem->groups;
    call->c = problem->planar_in ? g->c : in_eights(call->depthwise ? problem->groups : g->c);
    call->h = g->h;
    call->w = g->w;
    call->size = g->size;
    call->stride_x = g->stride_x;
    call->stride_y = g->stride_y;
    call->pad = g->pad;
    call->dilation = g->dilation;
    call->out_h = g->out_h;
    call->out_w = g->out_w;
    call->filters = call->depthwise ? problem->groups : problem->filters;
    call->enlargement = step->enlargement > 0 ? step->enlargement : 1;
    call->repeats = step->repeats > 0 ? step->repeats : 1;
    call->activation = problem->activation;
    call->after_add = problem->after_add;
    call->pixels_in = problem->planar_in;
    call->planar_out = problem->planar_out;
    call->k = dn_half_conv_k(problem);
    if (problem->planar_in) {
        call->in = plan->network->input.data;
        call->in_image = 2 * dn_tensor_size(&plan->network->input);
        call->in_pixel = DN_PIXEL;
    } else {
        call->in = step->in[0].data;
        call->in_image = step->in[0].image_stride;
        call->in_pixel = pixel_of(&step->in[0]);
    }
    if (problem->adds) {
        call->add = step->in[1].data;
        call->add_pixel = pixel_of(&step->in[1]);
    }
    if (step->head) {
        const dn_yolo_head *head = &((const dn_yolo_state *)step->head->state)->head;
        call->head = {DN_YOLO_CLASSES + head->classes, head->new_coords, head->scale_x_y};
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
        if (!dn_plan_has_weights(&plan->steps[s])) continue;
        dn_half_conv *call = &dn_cuda_plan_of(plan)->convs[s].call;
        const size_t filters = (size_t)call->groups * (size_t)call->filters;
        const size_t weights = rounded((size_t)dn_half_conv_values(call) * 2);
        if (block) {
            call->weights = block + bytes;
            call->shift = (const float *)(void *)(block + bytes + weights);
        }
        bytes += weights + rounded((filters + 7) * sizeof(float));
    }
    return bytes;
}

static dn_half_source source_of(const dn_plan *plan, const dn_step *step)
{
    const dn_param *weights;
    const dn_output_stage *stage = dn_plan_stage(plan, step, &weights);
    dn_half_source source = {};
    source.first = plan->tensors[dn_plan_index(plan, step->reads[0])].first_channel;
    source.channels = step->type == &dn_step_masks ? step->in[0].c : step->call.problem.geometry.c;
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
        if (!dn_plan_has_weights(&plan->steps[s])) continue;
        const dn_half_source source = source_of(plan, &plan->steps[s]);
        DN_TRY(dn_half_conv_pack(&own->convs[s].call, &source));
    }
    /* steps read weights before they wait for what is before them (launch.h) */
    DN_CUDA_TRY(cudaStreamSynchronize(cudaStreamPerThread));
    return DN_OK;
}
