/* The inference plan on CUDA: what its files share. */
#ifndef DN_CUDA_PLAN_H
#define DN_CUDA_PLAN_H

#include "half_conv.h"
#include "half_rows.h"

/* A segment's launches for one number of images and of boxes' places. */
typedef struct dn_plan_graph {
    int32_t images, rois; /* 0 where the segment has no such steps */
    bool floats;          /* it makes the input's pixels first */
    int32_t passes;       /* that ran step by step */
    bool refused;         /* it could not be captured */
    cudaGraphExec_t exec;
    struct dn_plan_graph *next;
} dn_plan_graph;

/* Steps first..end-1, between layers that run as they are, and before or behind where boxes come
 * in: one graph. The first one makes the input's pixels where a pass has floats. */
typedef struct dn_plan_segment {
    int32_t first, end;
    bool has_images, has_rois;
    dn_plan_graph *graphs;
} dn_plan_segment;

typedef struct dn_plan_conv {
    dn_half_conv call;
    int32_t images;    /* that `form` was chosen for; 0: none yet */
    dn_half_form form; /* of the last pass that ran step by step */
    double seconds;    /* measured; 0: not */
    char name[24];
} dn_plan_conv;

typedef struct dn_cuda_plan {
    bool bf16;
    dn_plan_conv *convs;       /* (step_count): of the steps that have weights */
    dn_plan_segment *segments; /* (segment_count) */
    int32_t segment_count;
    dn_tuning *tuning;           /* network->tune's; NULL: none */
    dn_half_workspace workspace; /* one block, with `live` */
    dn_half_live *live;          /* on the device */
    dn_half_live told;           /* what it has been told */
    void *packed;                /* weights and shifts */
    int32_t rois;                /* places that the branch runs with: boxes, rounded up */
    dn_layer *boxes;             /* the [roialign] whose boxes were asked for, or NULL */
    const dn_roi_table *table;
    const dn_step *masks; /* [mask]'s, which computes single planes; or NULL */
    float *extra_planes;  /* of that, (extra_room, h, w) */
    int32_t extra_room;
    cudaEvent_t events[4]; /* begin and end: of a step that is timed, of the mask branch */
    int32_t event_count;
} dn_cuda_plan;

static inline dn_cuda_plan *dn_cuda_plan_of(const dn_plan *plan)
{
    return (dn_cuda_plan *)plan->device_data;
}

/* Images, or places of boxes, that the step runs with now. */
static inline int32_t dn_plan_places(const dn_plan *plan, const dn_step *step, const dn_pass *pass)
{
    return step->layer && step->layer->rois ? dn_cuda_plan_of(plan)->rois : pass->batch;
}

/* Whether it is launched by dn_plan_launch; others run as layers do. */
bool dn_plan_is_launched(const dn_step *step);
dn_status dn_plan_launch(const dn_plan *plan, const dn_step *step, int32_t images);

/* The input's pixels, of the floats that own->live tells of. */
dn_status dn_plan_launch_pixels(const dn_plan *plan, int32_t images);

/* Sets the form for so many images; measures where that is due. */
dn_status dn_plan_choose(const dn_plan *plan, const dn_step *step, int32_t images);

/* ---- plan_weights.cu ---- */

/* Fills the calls of steps with weights but for these, when tensors are placed. */
bool dn_plan_has_weights(const dn_step *step);
void dn_plan_fill_conv(const dn_plan *plan, const dn_step *step, dn_half_conv *call);
dn_status dn_cuda_plan_pack(dn_plan *plan);

/* ---- plan_run.cu ---- */

dn_status dn_cuda_plan_run(dn_plan *plan, const dn_pass *pass);
dn_status dn_cuda_plan_wait(dn_plan *plan);
void dn_plan_forget_graphs(dn_cuda_plan *plan);

#endif
