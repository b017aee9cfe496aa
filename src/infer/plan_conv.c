/* Convolutions of the plan: which form, their steps. See plan.h. */
#include "core/memory.h"
#include "infer/layer_types.h"
#include "infer/plan.h"
#include "layers/convolutional.h"
#include "layers/deconvolutional.h"
#include "layers/shortcut.h"
#include "layers/upsample.h"

#include <math.h>
#include <string.h>

/* ---- precision ---- */

static bool feeds_a_head(const dn_network *network, const dn_layer *layer)
{
    for (int32_t i = layer->index + 1; i < network->layer_count; i++) {
        const dn_layer *reader = &network->layers[i];
        if (reader->type->detect && reader->inputs[0] == layer->index) return true;
    }
    return false;
}

static dn_quantization quantization_of(dn_range range)
{
    const float scale = (range.high - range.low) / 255;
    return (dn_quantization){scale, (int32_t)lrintf(-range.low / scale)};
}

/* The lowest precision that is allowed. In int8 what a head reads stays float32: about a hundredth
 * of the work of YOLOv3, for outputs of the heads that are some hundredths nearer to those of
 * float32. */
static void set_precision(const dn_plan *plan, const dn_layer *layer, dn_conv_problem *problem)
{
    const dn_network *network = plan->network;
    const dn_conv_precision precision = dn_conv_precision_of(network->options.precision);
    if (plan->device) return;
    if (precision == DN_CONV_INT8 && feeds_a_head(network, layer)) return;
    problem->precision = precision;
    if (precision == DN_CONV_INT8)
        problem->in_quant = quantization_of(network->ranges[layer->index]);
}

static dn_conv_problem problem_of(const dn_plan *plan, const dn_layer *layer,
                                  const dn_layer *shortcut)
{
    const dn_convolutional_options *o = layer->options;
    const dn_convolutional *state = layer->state;
    dn_conv_problem problem = {
        .geometry = state->geometry,
        .images = dn_plan_images(plan, layer),
        .groups = o->groups,
        .filters = o->filters / o->groups,
        .activation = state->stage.activation,
    };
    set_precision(plan, layer, &problem);
    if (!shortcut) return problem;
    problem.adds = true;
    problem.after_add = (dn_activation)((const dn_shortcut_options *)shortcut->options)->activation;
    return problem;
}

static const dn_conv_form *choose(const dn_plan *plan, const dn_conv_problem *problem)
{
    return dn_conv_form_choose(plan->kernels, problem, plan->choice, DN_JUDGED_THREADS);
}

static bool has_form(const dn_plan *plan, const dn_conv_problem *problem)
{
    return plan->device ? plan->device->conv_fits(problem) : choose(plan, problem) != NULL;
}

bool dn_plan_conv_fits(const dn_plan *plan, const dn_layer *layer)
{
    const dn_conv_problem problem = problem_of(plan, layer, NULL);
    return has_form(plan, &problem);
}

bool dn_plan_conv_writes_planar(const dn_plan *plan, const dn_layer *layer)
{
    dn_conv_problem problem = problem_of(plan, layer, NULL);
    problem.planar_out = true;
    return has_form(plan, &problem);
}

static bool reads_pixels(const dn_network *network, const dn_layer *layer)
{
    if (!dn_plan_is_convolution(layer)) return false;
    const dn_convolutional_options *o = layer->options;
    const dn_convolutional *state = layer->state;
    const dn_conv_problem problem = {.geometry = state->geometry,
                                     .images = layer->out.n,
                                     .groups = o->groups,
                                     .filters = o->filters / o->groups,
                                     .planar_in = true};
    return network->backend->plan->conv_fits(&problem);
}

dn_input_form dn_plan_input_form(const dn_network *network)
{
    const dn_tensor *in = &network->input;
    if (!network->host || !dn_network_fuses(network)) return DN_INPUT_PLANAR;
    /* every image's part has room for its pixels, and begins at a multiple of 8 bytes */
    if (in->c < DN_PIXEL / 2 || in->c > DN_PIXEL || dn_tensor_size(in) % 2 != 0)
        return DN_INPUT_PLANAR;
    for (int32_t i = 0; i < network->run_count; i++) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->input_count; k++)
            if (layer->inputs[k] < 0 && !reads_pixels(network, layer)) return DN_INPUT_PLANAR;
    }
    return network->options.precision == DN_PRECISION_BF16 ? DN_INPUT_BF16 : DN_INPUT_FP16;
}

bool dn_plan_conv_reads_planar(const dn_plan *plan, const dn_layer *layer)
{
    if (!dn_plan_is_convolution(layer) || layer->inputs[0] >= 0) return false;
    if (plan->device) return dn_plan_input_form(plan->network) != DN_INPUT_PLANAR;
    dn_conv_problem problem = problem_of(plan, layer, NULL);
    problem.planar_in = true;
    return has_form(plan, &problem);
}

void dn_plan_emit_conv(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                       dn_layer *behind, bool *wrote_planar)
{
    const dn_layer *shortcut = behind && behind->type == &dn_shortcut_layer ? behind : NULL;
    dn_layer *last = behind ? behind : layer;
    const dn_layer *upsample = behind && behind->type == &dn_upsample_layer ? behind : NULL;
    const dn_layer *head = behind && behind->type == &dn_yolo_layer ? behind : NULL;
    const dn_plan_layer *of = &layers[last->index];
    dn_step *step = dn_plan_add_step(plan, &dn_step_conv, last);
    dn_conv_problem *problem = &step->call.problem;
    *problem = problem_of(plan, layer, shortcut);
    problem->planar_in = dn_plan_conv_reads_planar(plan, layer);
    problem->planar_out = head || (of->needs_planar && !of->needs_blocked && !behind);
    if (problem->planar_out && !has_form(plan, problem)) problem->planar_out = false;
    if (!plan->device) step->form = choose(plan, problem);
    step->first_layer = layer->index;
    step->head = head;
    if (upsample) step->repeats = ((const dn_upsample_options *)upsample->options)->stride;
    step->own_reads[0] = layer->inputs[0];
    step->own_reads[1] = shortcut ? shortcut->inputs[1] : -1;
    step->read_count = shortcut ? 2 : 1;
    step->reads_planar = problem->planar_in;
    step->writes_planar = *wrote_planar = problem->planar_out;
}

/* ---- [deconvolutional] ---- */

/* The convolution whose filters are those of all taps, one tap behind the other. */
static dn_conv_problem deconv_problem(const dn_plan *plan, const dn_layer *layer)
{
    const dn_deconvolutional_options *o = layer->options;
    const dn_deconvolutional *state = layer->state;
    const dn_conv_geometry *back = &state->geometry;
    return (dn_conv_problem){
        .geometry = {.c = state->weights->outputs,
                     .h = back->out_h,
                     .w = back->out_w,
                     .size = 1,
                     .stride_x = 1,
                     .stride_y = 1,
                     .dilation = 1,
                     .out_h = back->out_h,
                     .out_w = back->out_w},
        .images = dn_plan_images(plan, layer),
        .groups = 1,
        .filters = o->filters * o->size * o->size,
        .activation = state->stage.activation,
    };
}

/* The same for the CPU's form, blocked/deconv.h. */
static dn_conv_problem spread_problem(const dn_plan *plan, const dn_layer *layer)
{
    const dn_deconvolutional_options *o = layer->options;
    dn_conv_problem problem = deconv_problem(plan, layer);
    problem.geometry.size = problem.geometry.stride_x = problem.geometry.stride_y = o->stride;
    problem.geometry.out_h = layer->out.h;
    problem.geometry.out_w = layer->out.w;
    problem.filters = o->filters;
    return problem;
}

bool dn_plan_deconv_fits(const dn_plan *plan, const dn_layer *layer)
{
    const dn_deconvolutional_options *o = layer->options;
    const dn_conv_geometry *back = &((const dn_deconvolutional *)layer->state)->geometry;
    const bool apart = o->size == o->stride && back->pad == 0 &&
                       layer->out.h == o->stride * back->out_h &&
                       layer->out.w == o->stride * back->out_w;
    const dn_conv_problem problem = deconv_problem(plan, layer);
    if (!plan->device) return apart;
    return apart && o->filters % plan->lanes == 0 && plan->device->conv_fits(&problem);
}

void dn_plan_emit_deconv(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                         bool *wrote_planar)
{
    dn_step *step = dn_plan_add_step(plan, &dn_step_conv, layer);
    (void)layers, (void)wrote_planar;
    step->call.problem = plan->device ? deconv_problem(plan, layer) : spread_problem(plan, layer);
    if (!plan->device) step->form = plan->kernels->deconv;
    step->enlargement = ((const dn_deconvolutional_options *)layer->options)->stride;
    step->reads = layer->inputs;
    step->read_count = 1;
}

/* ---- running ---- */

static dn_blocked planar(const dn_tensor *tensor)
{
    return (dn_blocked){tensor->data, tensor->c, tensor->h, tensor->w, dn_tensor_size(tensor)};
}

static dn_status conv_begin(dn_plan *plan, dn_step *step, const dn_pass *pass)
{
    dn_conv_call *call = &step->call;
    const dn_layer *layer = &plan->network->layers[step->first_layer];
    call->problem.images = step->images;
    call->in = call->problem.planar_in ? planar(dn_input(layer, pass, 0)) : step->in[0];
    call->out = call->problem.planar_out ? planar(&step->layer->out) : step->out;
    if (call->problem.adds) call->add = step->in[1];
    call->packed = step->packed;
    call->shift = step->shift;
    call->shared = plan->workspace;
    return DN_OK;
}

static int32_t conv_phases(const dn_step *step)
{
    return step->form->phases;
}

static int32_t conv_tasks(dn_step *step, int32_t phase, int32_t threads)
{
    return step->form->tasks(&step->call, phase, threads);
}

static void conv_run(const dn_step *step, int32_t phase, int32_t task, void *scratch)
{
    step->form->run(&step->call, phase, task, scratch);
}

static int64_t conv_scratch(const dn_step *step)
{
    return step->form->scratch_bytes(&step->call.problem);
}

const dn_step_type dn_step_conv = {
    .name = "conv",
    .begin = conv_begin,
    .phases = conv_phases,
    .tasks = conv_tasks,
    .run = conv_run,
    .scratch_bytes = conv_scratch,
};
