/* The inference plan on CUDA, in half precision: how it is opened and closed. What src/infer/plan.h
 * asks of a device; the steps and their places come from there.
 *
 * Tensors are (images, h, w, channels) of 16 bits in the plan's arena; heads and whatever else runs
 * as it does layer by layer find planar float tensors. The files: half_conv.h and its neighbours
 * compute convolutions, half_rows.h the other steps; plan_weights.cu packs weights, plan_run.cu
 * launches the steps, as graphs.
 */
#include "plan.h"

#include "core/memory.h"
#include "half_tuning.h"

static void close(dn_plan *plan)
{
    dn_cuda_plan *own = dn_cuda_plan_of(plan);
    if (!own) return;
    dn_plan_forget_graphs(own);
    for (int32_t i = 0; i < own->event_count; i++) cudaEventDestroy(own->events[i]);
    cudaFree(own->packed);
    cudaFree(own->extra_planes);
    cudaFree(own->workspace.parts);
    if (own->tuning) dn_tuning_close(own->tuning);
    dn_free(own->tuning);
    dn_free(own->segments);
    dn_free(own->convs);
    dn_free(own);
    plan->device_data = nullptr;
}

static dn_status check_gpu(const dn_plan *plan, bool bf16)
{
    int device = 0, major = 0;
    DN_CUDA_TRY(cudaGetDevice(&device));
    DN_CUDA_TRY(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    if (bf16 && major < 8)
        return dn_fail(DN_ERROR_DEVICE,
                       "%s: precision bf16 needs a GPU of compute capability 8.0; fp16 is allowed",
                       plan->network->cfg->name);
    return DN_OK;
}

/* The step of [mask] where it is one of the launched, or NULL. */
static const dn_step *masks_of(const dn_plan *plan)
{
    for (int32_t s = 0; s < plan->step_count; s++)
        if (plan->steps[s].type == &dn_step_masks) return &plan->steps[s];
    return nullptr;
}

/* Runs of steps that are launched, apart where boxes come in. */
static void find_segments(dn_plan *plan, dn_cuda_plan *own)
{
    dn_plan_segment *segment = nullptr;
    for (int32_t s = 0; s < plan->step_count; s++) {
        const dn_step *step = &plan->steps[s];
        const bool rois = step->layer && step->layer->rois;
        if (!dn_plan_is_launched(step)) {
            segment = nullptr;
            continue;
        }
        if (rois && segment && !segment->has_rois) segment = nullptr;
        if (!segment) {
            segment = &own->segments[own->segment_count++];
            segment->first = s;
        }
        segment->end = s + 1;
        segment->has_rois = segment->has_rois || rois;
        segment->has_images = segment->has_images || !rois;
    }
}

static dn_status reserve(dn_plan *plan, dn_cuda_plan *own)
{
    const size_t counters = DN_HALF_COUNTERS * sizeof(int32_t);
    const size_t bytes = DN_HALF_WORKSPACE + counters + sizeof *own->live;
    void *block = nullptr;
    DN_TRY(plan->network->backend->alloc(bytes, &block)); /* zeros */
    own->workspace.parts = (float *)block;
    own->workspace.counters = (int32_t *)(void *)((char *)block + DN_HALF_WORKSPACE);
    own->live = (dn_half_live *)(void *)(own->workspace.counters + DN_HALF_COUNTERS);
    for (; own->event_count < 4; own->event_count++)
        DN_CUDA_TRY(cudaEventCreate(&own->events[own->event_count]));
    return DN_OK;
}

static dn_status open_tuning(const dn_network *network, dn_cuda_plan *own)
{
    if (!network->tune) return DN_OK;
    own->tuning = (dn_tuning *)dn_alloc(sizeof *own->tuning);
    if (!own->tuning) return DN_ERROR_MEMORY;
    own->tuning->warn = network->options.warn;
    own->tuning->warn_context = network->options.warn_context;
    return dn_half_tuning_open(own->tuning, network->tune);
}

static dn_status open(dn_plan *plan)
{
    const size_t steps = (size_t)plan->step_count;
    dn_cuda_plan *own = (dn_cuda_plan *)dn_alloc(sizeof *own);
    if (!own) return DN_ERROR_MEMORY;
    plan->device_data = own;
    own->bf16 = plan->network->options.precision == DN_PRECISION_BF16;
    own->convs = (dn_plan_conv *)dn_alloc(steps * sizeof *own->convs);
    own->segments = (dn_plan_segment *)dn_alloc(steps * sizeof *own->segments);
    if (!own->convs || !own->segments) return DN_ERROR_MEMORY;
    DN_TRY(check_gpu(plan, own->bf16));
    DN_TRY(open_tuning(plan->network, own));
    find_segments(plan, own);
    for (int32_t s = 0; s < plan->step_count; s++)
        if (dn_plan_has_weights(&plan->steps[s]))
            dn_plan_fill_conv(plan, &plan->steps[s], &own->convs[s].call);
    own->masks = masks_of(plan);
    return reserve(plan, own);
}

static const char *form_name(const dn_plan *plan, const dn_step *step)
{
    return dn_cuda_plan_of(plan)->convs[step - plan->steps].name;
}

extern "C" const dn_plan_device dn_cuda_plan_device = {
    8,
    dn_half_conv_fits,
    open,
    close,
    dn_cuda_plan_pack,
    dn_cuda_plan_run,
    dn_cuda_plan_wait,
    form_name,
};
