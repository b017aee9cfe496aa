/* One step of the plan on CUDA: its launch. See plan.h. */
#include "letterbox.h"
#include "plan.h"

#include "layers/roialign.h"

bool dn_plan_is_launched(const dn_step *step)
{
    return step->type != &dn_step_plain && step->type != &dn_step_boxes;
}

dn_status dn_plan_choose(const dn_plan *plan, const dn_step *step, int32_t images)
{
    dn_cuda_plan *own = dn_cuda_plan_of(plan);
    if (step->type != &dn_step_conv || images == 0) return DN_OK;
    dn_plan_conv *conv = &own->convs[step - plan->steps];
    dn_half_conv call = conv->call;
    if (images == conv->images) return DN_OK;
    call.images = images;
    DN_TRY(dn_half_choose(&call, &own->workspace, own->tuning, &conv->form, &conv->seconds));
    conv->images = images;
    dn_half_form_name(&call, conv->form, conv->name, sizeof conv->name);
    return DN_OK;
}

/* A form that fails here, not where it was measured or described, gives way to another. */
static dn_status launch_conv(const dn_plan *plan, const dn_step *step, int32_t images)
{
    dn_cuda_plan *own = dn_cuda_plan_of(plan);
    dn_plan_conv *conv = &own->convs[step - plan->steps];
    dn_half_conv call = conv->call;
    call.images = images;
    const dn_status status = dn_half_run(&call, conv->form, &own->workspace);
    if (status != DN_ERROR_DEVICE) return status;
    cudaGetLastError(); /* or the next launch would report this one */
    DN_TRY(dn_half_choose_other(&call, own->tuning, &conv->form));
    conv->seconds = 0.0;
    dn_half_form_name(&call, conv->form, conv->name, sizeof conv->name);
    return dn_half_run(&call, conv->form, &own->workspace);
}

static dn_status launch_rois(const dn_plan *plan, const dn_step *step, int32_t images)
{
    const dn_cuda_plan *own = dn_cuda_plan_of(plan);
    dn_half_rois call = {};
    call.pool = dn_roialign_pool(step->layer);
    call.rois = own->table->rois;
    call.live = own->live;
    call.out = step->out;
    for (; call.first < step->read_count; call.first += DN_HALF_MAPS) {
        const int32_t left = step->read_count - call.first;
        call.count = left < DN_HALF_MAPS ? left : (int32_t)DN_HALF_MAPS;
        for (int32_t k = 0; k < call.count; k++) {
            call.maps[k] = dn_plan_view(plan, step->reads[call.first + k]);
            call.places[k] = dn_roialign_map(step->layer, plan->network, call.first + k);
        }
        DN_TRY(dn_half_pool_rois(own->bf16, &call, images));
    }
    return DN_OK;
}

static dn_status launch_masks(const dn_plan *plan, const dn_step *step, int32_t images)
{
    const dn_cuda_plan *own = dn_cuda_plan_of(plan);
    const dn_half_conv *conv = &own->convs[step - plan->steps].call;
    const dn_tensor *out = &step->layer->out;
    dn_half_masks call = {};
    call.c = conv->c;
    call.cells = out->h * out->w;
    call.one = conv->filters == 1;
    call.in = step->in[0].data;
    call.in_pixel = step->in[0].image_stride / call.cells;
    call.weights = conv->weights;
    call.biases = conv->shift;
    call.rois = own->table->rois;
    call.live = own->live;
    call.out = out->data;
    return dn_half_mask_planes(own->bf16, &call, images);
}

dn_status dn_plan_launch_pixels(const dn_plan *plan, int32_t images)
{
    const dn_cuda_plan *own = dn_cuda_plan_of(plan);
    const dn_tensor *input = &plan->network->input;
    return dn_cuda_told_to_pixels(&own->live->floats, images, input->c,
                                  (int64_t)input->h * input->w,
                                  own->bf16 ? DN_INPUT_BF16 : DN_INPUT_FP16, input->data);
}

static float *planar_of(const dn_plan *plan, const dn_step *step)
{
    return step->layer ? step->layer->out.data : plan->network->input.data;
}

dn_status dn_plan_launch(const dn_plan *plan, const dn_step *step, int32_t images)
{
    const bool bf16 = dn_cuda_plan_of(plan)->bf16;
    const dn_blocked *in = step->in, *out = &step->out;
    if (images == 0) return DN_OK;
    if (step->type == &dn_step_conv) return launch_conv(plan, step, images);
    if (step->type == &dn_step_rois) return launch_rois(plan, step, images);
    if (step->type == &dn_step_masks) return launch_masks(plan, step, images);
    if (step->type == &dn_step_to_blocked)
        return dn_half_from_planar(bf16, planar_of(plan, step), out, images);
    if (step->type == &dn_step_to_planar)
        return dn_half_to_planar(bf16, in, planar_of(plan, step), images);
    if (step->type == &dn_step_maxpool) return dn_half_maxpool(bf16, &step->pool, in, out, images);
    if (step->type == &dn_step_upsample)
        return dn_half_upsample(bf16, step->enlargement, step->factors[0], in, out, images);
    if (step->type == &dn_step_add)
        return dn_half_add(bf16, step->factors, in, in + 1, step->activation, out, images);
    if (step->type == &dn_step_scale)
        return dn_half_scale(bf16, in, in + 1, step->activation, out, images);
    if (step->type == &dn_step_activate)
        return dn_half_activate(bf16, in, step->activation, out, images);
    if (step->type == &dn_step_average) return dn_half_average(bf16, in, out, images);
    if (step->type == &dn_step_copy) return dn_half_copy(bf16, step->copy, in, out, images);
    return dn_fail(DN_ERROR_ARGUMENT, "step \"%s\" has no form on cuda", step->type->name);
}
