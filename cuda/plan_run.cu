/* Running the plan on CUDA: see plan.h.
 *
 * Layers that run as they are are launched as they are layer by layer. The steps between them are
 * a segment: its first two passes with a number of images and boxes launch them one by one, timed,
 * with convolutions' forms chosen; the third captures them as a graph, which is launched from then
 * on. Addresses that differ from pass to pass are told the device where they change. Numbers of
 * boxes are rounded up (4, 8, 12 ... 32, 40 ... 64, 80, 100, 200
 * ...), so that few graphs do; places without a box compute what nobody reads. What cannot be
 * captured goes on being launched step by step.
 *
 * Boxes of the mask branch are asked for as soon as the heads are done, and waited for when all of
 * the branch that goes without them has been launched.
 *
 * The mask branch is timed by events; where there is one, a pass ends when the GPU is done, unless
 * others go on behind it.
 */
#include "decode.h"
#include "plan.h"

#include "core/memory.h"
#include "layers/mask.h"

#include <string.h>

static void free_graph(dn_plan_graph *graph)
{
    if (graph->exec) cudaGraphExecDestroy(graph->exec);
    dn_free(graph);
}

void dn_plan_forget_graphs(dn_cuda_plan *own)
{
    for (int32_t i = 0; i < own->segment_count; i++) {
        dn_plan_graph *next = nullptr;
        for (dn_plan_graph *graph = own->segments[i].graphs; graph; graph = next) {
            next = graph->next;
            free_graph(graph);
        }
        own->segments[i].graphs = nullptr;
    }
}

/* "layer 12 [convolutional] (line 34): " before what the device says. */
static dn_status at_step(const dn_step *step, dn_status status)
{
    if (status != DN_ERROR_DEVICE || !step->layer) return status;
    return dn_fail_prefix(status, "layer %d [%s] (line %d)", step->layer->index,
                          step->layer->type->name, step->layer->line);
}

/* ---- What the device is told ---- */

static __global__ void set_live(dn_half_live *live, dn_half_live now, int64_t one)
{
    DN_GRID_STRIDE(i, one) live[i] = now;
}

/* Where something has moved. */
static dn_status tell(dn_cuda_plan *own, const dn_half_live *now)
{
    if (memcmp(&own->told, now, sizeof own->told) == 0) return DN_OK;
    DN_LAUNCH(set_live, 1, own->live, *now, 1);
    DN_CUDA_TRY(cudaGetLastError());
    own->told = *now;
    return DN_OK;
}

static dn_status tell_floats(dn_cuda_plan *own, const dn_pass *pass)
{
    dn_half_live now = own->told;
    if (pass->floats) now.floats = pass->floats;
    return tell(own, &now);
}

static dn_status tell_boxes(dn_cuda_plan *own)
{
    const dn_roi_table *table = own->table;
    const dn_half_live now = {own->told.floats, table->starts + table->batch, table->extra_starts,
                              table->extras, own->extra_planes};
    return tell(own, &now);
}

/* ---- Segments ---- */

/* Whether the segment makes the input's pixels, of floats. */
static bool has_floats(const dn_plan *plan, const dn_plan_segment *segment, const dn_pass *pass)
{
    return pass->floats && segment == dn_cuda_plan_of(plan)->segments;
}

static dn_status launch_all(const dn_plan *plan, const dn_plan_segment *segment,
                            const dn_pass *pass)
{
    if (has_floats(plan, segment, pass)) DN_TRY(dn_plan_launch_pixels(plan, pass->batch));
    for (int32_t s = segment->first; s < segment->end; s++) {
        const dn_step *step = &plan->steps[s];
        DN_TRY(at_step(step, dn_plan_launch(plan, step, dn_plan_places(plan, step, pass))));
    }
    return DN_OK;
}

/* One after the other, each by itself: what is measured of convolutions alone is better. */
static dn_status run_timed(dn_plan *plan, const dn_plan_segment *segment, const dn_pass *pass)
{
    const dn_cuda_plan *own = dn_cuda_plan_of(plan);
    if (has_floats(plan, segment, pass)) DN_TRY(dn_plan_launch_pixels(plan, pass->batch));
    for (int32_t s = segment->first; s < segment->end; s++) {
        dn_step *step = &plan->steps[s];
        const int32_t images = dn_plan_places(plan, step, pass);
        float ms = 0.0f;
        DN_TRY(at_step(step, dn_plan_choose(plan, step, images)));
        DN_CUDA_TRY(cudaEventRecord(own->events[0], cudaStreamPerThread));
        DN_TRY(at_step(step, dn_plan_launch(plan, step, images)));
        DN_CUDA_TRY(cudaEventRecord(own->events[1], cudaStreamPerThread));
        DN_CUDA_TRY(cudaEventSynchronize(own->events[1]));
        DN_CUDA_TRY(cudaEventElapsedTime(&ms, own->events[0], own->events[1]));
        const double measured = own->convs[s].seconds;
        step->seconds = measured > 0.0 ? measured : 1e-3 * (double)ms;
    }
    return DN_OK;
}

static dn_status capture(const dn_plan *plan, const dn_plan_segment *segment, const dn_pass *pass,
                         cudaGraphExec_t *exec)
{
    cudaGraph_t graph = nullptr;
    DN_CUDA_TRY(cudaStreamBeginCapture(cudaStreamPerThread, cudaStreamCaptureModeThreadLocal));
    const dn_status status = launch_all(plan, segment, pass);
    const cudaError_t ended = cudaStreamEndCapture(cudaStreamPerThread, &graph);
    if (status != DN_OK || ended != cudaSuccess) {
        if (graph) cudaGraphDestroy(graph);
        DN_TRY(status);
        DN_CUDA_TRY(ended);
    }
    const cudaError_t made = cudaGraphInstantiateWithFlags(exec, graph, 0);
    cudaGraphDestroy(graph);
    DN_CUDA_TRY(made);
    return DN_OK;
}

/* The segment's graph for what this pass has, made where there is none. */
static dn_status graph_of(const dn_plan *plan, dn_plan_segment *segment, const dn_pass *pass,
                          dn_plan_graph **found)
{
    const int32_t images = segment->has_images ? pass->batch : 0;
    const int32_t rois = segment->has_rois ? dn_cuda_plan_of(plan)->rois : 0;
    const bool floats = has_floats(plan, segment, pass);
    dn_plan_graph *graph = segment->graphs;
    while (graph && (graph->images != images || graph->rois != rois || graph->floats != floats))
        graph = graph->next;
    if (!graph) {
        graph = (dn_plan_graph *)dn_alloc(sizeof *graph);
        if (!graph) return DN_ERROR_MEMORY;
        graph->images = images;
        graph->rois = rois;
        graph->floats = floats;
        graph->next = segment->graphs;
        segment->graphs = graph;
    }
    *found = graph;
    return DN_OK;
}

enum { DN_PASSES_BEFORE = 2 };

static dn_status choose_all(const dn_plan *plan, const dn_plan_segment *segment,
                            const dn_pass *pass)
{
    for (int32_t s = segment->first; s < segment->end; s++) {
        const dn_step *step = &plan->steps[s];
        DN_TRY(at_step(step, dn_plan_choose(plan, step, dn_plan_places(plan, step, pass))));
    }
    return DN_OK;
}

static dn_status run_segment(dn_plan *plan, dn_plan_segment *segment, const dn_pass *pass)
{
    dn_plan_graph *graph = nullptr;
    if (!segment->has_images && dn_cuda_plan_of(plan)->rois == 0) return DN_OK;
    DN_TRY(graph_of(plan, segment, pass, &graph));
    if (graph->exec) {
        DN_CUDA_TRY(cudaGraphLaunch(graph->exec, cudaStreamPerThread));
        return DN_OK;
    }
    if (graph->passes < DN_PASSES_BEFORE) {
        graph->passes++;
        return run_timed(plan, segment, pass);
    }
    /* the forms are for other numbers where another graph was made in between */
    DN_TRY(choose_all(plan, segment, pass));
    if (!graph->refused && capture(plan, segment, pass, &graph->exec) == DN_OK) {
        DN_CUDA_TRY(cudaGraphLaunch(graph->exec, cudaStreamPerThread));
        return DN_OK;
    }
    cudaGetLastError();
    graph->refused = true;
    return launch_all(plan, segment, pass);
}

/* ---- Layers that run as they are ---- */

/* Places for so many boxes. */
static int32_t places_for(int32_t rois, int32_t capacity)
{
    static const int32_t few[] = {0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80};
    int32_t places = (rois + 99) / 100 * 100;
    for (const int32_t some : few)
        if (rois <= some && some < places) {
            places = some;
            break;
        }
    return places < capacity ? places : capacity;
}

/* What [mask]'s step needs when the boxes are known. */
static dn_status begin_masks(dn_cuda_plan *own, const dn_pass *pass)
{
    dn_layer *layer = own->masks->layer;
    const int32_t extras = layer->rois->extra_count;
    DN_TRY(dn_mask_check_rois(layer, pass));
    if (extras > own->extra_room) {
        const size_t plane = (size_t)dn_tensor_size(&layer->out) * sizeof(float);
        cudaFree(own->extra_planes);
        own->extra_planes = nullptr;
        own->extra_room = 0;
        DN_CUDA_TRY(cudaMalloc((void **)&own->extra_planes, 2 * (size_t)extras * plane));
        own->extra_room = 2 * extras;
    }
    dn_mask_set_extras(layer, own->extra_planes);
    layer->loss = 0;
    return DN_OK;
}

static dn_pass pass_of_layers(const dn_plan *plan, const dn_pass *pass)
{
    dn_pass own = *pass;
    own.training = false;
    own.workspace = plan->workspace;
    return own;
}

/* Waits for the boxes that were asked for; steps between have their work by then. */
static dn_status take_boxes(dn_plan *plan, const dn_pass *pass)
{
    dn_cuda_plan *own = dn_cuda_plan_of(plan);
    const dn_pass as_layers = pass_of_layers(plan, pass);
    dn_layer *layer = own->boxes;
    own->boxes = nullptr;
    DN_TRY(dn_roi_boxes(layer, &as_layers, &own->table));
    own->rois = places_for(layer->rois->count, layer->rois->capacity);
    if (own->masks) DN_TRY(begin_masks(own, pass));
    return tell_boxes(own);
}

static dn_status run_as_is(dn_plan *plan, const dn_step *step, const dn_pass *pass)
{
    const dn_layer_kernels *kernels = plan->network->backend->kernels(step->layer->type);
    const dn_pass own = pass_of_layers(plan, pass);
    if (step->type != &dn_step_boxes) return kernels->forward(step->layer, &own);
    dn_cuda_plan_of(plan)->boxes = step->layer;
    return dn_roi_ask(step->layer, &own);
}

/* The boxes of the heads that convolutions of the segment end in. */
static dn_status find_boxes(const dn_plan *plan, const dn_plan_segment *segment,
                            const dn_pass *pass)
{
    const dn_pass own = pass_of_layers(plan, pass);
    for (int32_t s = segment->first; s < segment->end; s++) {
        const dn_step *step = &plan->steps[s];
        if (step->head) DN_TRY(at_step(step, dn_decode_ahead(step->head, &own)));
    }
    return DN_OK;
}

/* ---- The pass ---- */

static dn_status run_steps(dn_plan *plan, const dn_pass *pass, int32_t branch)
{
    dn_cuda_plan *own = dn_cuda_plan_of(plan);
    dn_plan_segment *segment = own->segments;
    bool began = branch < 0;
    for (int32_t s = 0, next; s < plan->step_count; s = next) {
        dn_step *step = &plan->steps[s];
        if (!began && step->layer && step->layer->index >= branch) {
            DN_CUDA_TRY(cudaEventRecord(own->events[2], cudaStreamPerThread));
            began = true;
        }
        if (own->boxes && step->layer && step->layer->rois)
            DN_TRY(at_step(step, take_boxes(plan, pass)));
        if (!dn_plan_is_launched(step)) {
            DN_TRY(at_step(step, run_as_is(plan, step, pass)));
            next = s + 1;
        } else {
            DN_TRY(run_segment(plan, segment, pass));
            DN_TRY(find_boxes(plan, segment, pass));
            next = segment++->end;
        }
    }
    for (int32_t i = 0; i < plan->step_count; i++)
        plan->steps[i].images = plan->steps[i].live =
            plan->steps[i].layer ? dn_live(plan->steps[i].layer, pass) : pass->batch;
    return DN_OK;
}

dn_status dn_cuda_plan_run(dn_plan *plan, const dn_pass *pass)
{
    const int32_t branch = dn_network_branch(plan->network);
    DN_TRY(tell_floats(dn_cuda_plan_of(plan), pass));
    DN_TRY(run_steps(plan, pass, branch));
    if (dn_cuda_plan_of(plan)->tuning) dn_tuning_save(dn_cuda_plan_of(plan)->tuning);
    plan->network->branch_seconds = 0.0;
    if (branch >= 0 && branch < plan->layer_count)
        DN_CUDA_TRY(cudaEventRecord(dn_cuda_plan_of(plan)->events[3], cudaStreamPerThread));
    return pass->goes_on ? DN_OK : dn_cuda_plan_wait(plan);
}

dn_status dn_cuda_plan_wait(dn_plan *plan)
{
    const dn_cuda_plan *own = dn_cuda_plan_of(plan);
    const int32_t branch = dn_network_branch(plan->network);
    float ms = 0.0f;
    if (branch < 0 || branch >= plan->layer_count) return DN_OK;
    DN_CUDA_TRY(cudaEventSynchronize(own->events[3]));
    DN_CUDA_TRY(cudaEventElapsedTime(&ms, own->events[2], own->events[3]));
    plan->network->branch_seconds = 1e-3 * (double)ms;
    return DN_OK;
}
