/* The inference plan: a network compiled once into fused steps on blocked tensors.
 *
 * Batch normalisation is folded into packed weights; a convolution, its bias, its activation and a
 * [shortcut] behind it are one step; what a [route] joins is written in place where it can be.
 * Layers without a blocked form run as they do layer by layer, between two reorders, on planar
 * tensors (their layer->out.data). So heads, detections and the choice of RoIs are those of the
 * layers themselves.
 *
 * The files: plan_compile.c decides which way each layer goes, plan_layers.c makes its steps,
 * plan_route.c those of [route], plan_conv.c those of convolutions, plan_pack.c packs weights,
 * plan_chain.c joins convolutions, plan_tune.c has their forms measured, plan_rois.c those of
 * [roialign], plan_masks.c those of [mask] and the rounds of the mask branch, plan_steps.c computes
 * the others, plan_memory.c finds places for all tensors, plan_run.c runs the steps on all threads,
 * plan.c keeps the plan with its network.
 *
 * A backend may run plans itself (dn_plan_device): ways, steps and places come from the same files,
 * its kernels compute the steps, on tensors of half precision with the channels last.
 */
#ifndef DN_INFER_PLAN_H
#define DN_INFER_PLAN_H

#include "core/network.h"
#include "infer/conv_forms.h"
#include "infer/team.h"
#include "layers/output_stage.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dn_plan dn_plan;
typedef struct dn_step dn_step;

/* What a backend does of a plan (dn_backend.plan). There a blocked tensor is (images, h, w,
 * channels), the channels rounded up to a multiple of `lanes`, and its values have 16 bits, as
 * options.precision says: a view's `data` leads to such values, and image_stride counts them. Views
 * of wider tensors begin at whole blocks, as on the CPU. */
struct dn_plan_device {
    int32_t lanes;
    bool (*conv_fits)(const dn_conv_problem *problem);
    dn_status (*open)(dn_plan *plan); /* behind the placing; may set plan->device_data */
    void (*close)(dn_plan *plan);     /* frees that */
    dn_status (*pack)(dn_plan *plan); /* takes the parameters as they are now */
    dn_status (*run)(dn_plan *plan, const dn_pass *pass);
    dn_status (*wait)(dn_plan *plan); /* for the end of the branch of a pass that goes on, which is
                                         timed; nothing where there is none */
    const char *(*form_name)(const dn_plan *plan, const dn_step *step); /* of a convolution */
};

/* The blocked form of a layer's output, or of the network's input. Tensors that lie in others form
 * trees: the root has memory. */
typedef struct dn_plan_tensor {
    dn_blocked view; /* data and image_stride are set when all is placed */
    int32_t images;  /* at most */
    int32_t parent;  /* the tensor that it lies in, from block `block` on; -1: a root */
    int32_t block;
    int32_t width; /* of roots: channels that they have room for, their own and those behind them */
    int32_t first_channel; /* that lies first: behind the last one comes channel 0 (plan_route.c) */
    int32_t first, last;   /* of roots: the steps that use it or what lies in it; last < 0: none */
    float *memory;         /* of roots */
} dn_plan_tensor;

/* How a step computes. A step without `tasks` is done by `begin` alone, outside of the threads'
 * work. */
typedef struct dn_step_type {
    const char *name;
    /* Before the step's tasks, by one thread; NULL: nothing. */
    dn_status (*begin)(dn_plan *plan, dn_step *step, const dn_pass *pass);
    int32_t (*phases)(const dn_step *step); /* NULL: one */
    int32_t (*tasks)(dn_step *step, int32_t phase, int32_t threads);
    void (*run)(const dn_step *step, int32_t phase, int32_t task, void *scratch);
    int64_t (*scratch_bytes)(const dn_step *step); /* of one thread; NULL: none */
} dn_step_type;

/* How rows of a tensor are cut into tasks: each does `per_task` pieces of `rows` rows of a block.
 */
typedef struct dn_row_cut {
    int32_t blocks, chunks, rows, per_task, pieces;
} dn_row_cut;

struct dn_step {
    const dn_step_type *type;
    const dn_kernels *kernels;
    dn_layer *layer;     /* whose output it makes */
    int32_t first_layer; /* that it does: before `layer` where layers are fused */
    int32_t live;        /* images or RoIs of this pass */
    int32_t images;      /* that it does now: all of them, or RoIs of one round of the branch */
    int32_t first_image;

    const int32_t *reads; /* (read_count): layers, -1: the network's input */
    int32_t read_count;
    int32_t own_reads[2];
    bool reads_planar, writes_planar;

    float *planar;          /* of a reorder; of [mask], the extra classes' planes */
    const dn_layer *logits; /* of [mask]: the convolution before it */
    const dn_layer *head;   /* of a device's convolution: the [yolo] behind it, whose output it
                               makes, or NULL */
    int32_t first_extra;    /* of [mask]: the first extra class of this round */
    dn_blocked in[2], out;  /* blocked operands, set when all is placed */
    int32_t first_block;    /* of out, that is written */
    int32_t block_count;
    dn_row_cut cut;
    dn_activation activation;
    dn_channel_copy copy;
    float factors[2];    /* of a sum; of an enlargement its scale */
    int32_t enlargement; /* of an upsampling, and of a convolution that is a [deconvolutional] */
    int32_t repeats;     /* of a device's convolution with an [upsample] behind it: its stride */
    dn_pool_geometry pool;
    dn_roi_pool roi_pool;
    dn_roi_map roi_map;
    int32_t level; /* of roi_map */

    const dn_conv_form *form; /* of convolutions on the CPU */
    dn_conv_call call;        /* of convolutions */
    void *packed;
    int64_t packed_bytes;
    bool is_packed; /* already, when weights are packed next: taken from the plan before */
    bool was_kept;  /* is_packed, when they were packed last */
    float *shift;
    dn_chain chain; /* of this step, a convolution, and of the links before it; length 0: none */
    double seconds; /* of the last pass */
    double tuned;   /* seconds of the form as tuning measured them; 0: estimated */
};

/* Steps first..end-1 are done for some RoIs after the other, so that what lies between the layers
 * of a mask branch stays in the caches. */
typedef struct dn_rounds {
    int32_t first_layer, last_layer; /* [roialign] and [mask] */
    int32_t first, end;              /* steps; the same: none */
    int32_t images;                  /* RoIs of a round, at most */
    int32_t done;                    /* RoIs of the rounds before this one */
} dn_rounds;

struct dn_plan {
    dn_network *network;
    const dn_plan_device *device; /* NULL: the CPU */
    void *device_data;
    const dn_kernels *kernels; /* of the CPU */
    int32_t lanes;             /* channels of a block */
    dn_conv_choice choice;
    int32_t layer_count;     /* that run */
    dn_plan_tensor *tensors; /* (layer_count + 1): of the layers, the last the input's */
    dn_step *steps;
    int32_t step_count, step_capacity;
    dn_rounds rounds;
    float *arena;
    int64_t arena_bytes;
    int64_t live_bytes; /* the largest sum of tensors that live at the same time */
    float *workspace;   /* in the arena: what phases share, then the threads' scratch */
    int64_t shared_bytes, scratch_bytes; /* of that; multiples of 64 */
    float *shifts;                       /* of all convolutions */
    uint64_t setups;                     /* of the network, when the plan was made */
    uint64_t weights[2];                 /* versions of the weights that are packed; 0: none */
    dn_team *team;
};

/* The network's plan, made or renewed where that is due. */
dn_status dn_plan_of(dn_network *network, dn_plan **plan);

/* A forward pass, as dn_run_forward. */
dn_status dn_plan_run(dn_plan *plan, dn_pass *pass);

/* ---- between the plan's files ---- */

/* Index of a layer's tensor (-1: the network's input). */
static inline int32_t dn_plan_index(const dn_plan *plan, int32_t layer)
{
    return layer < 0 ? plan->layer_count : layer;
}

/* The root of a tensor; *block is where the tensor begins in it. */
dn_plan_tensor *dn_plan_root(const dn_plan *plan, int32_t layer, int32_t *block);

/* A tensor where it lies, when all is placed (-1: the network's input). */
dn_blocked dn_plan_view(const dn_plan *plan, int32_t layer);

/* Decides the ways of all layers and makes their steps. */
dn_status dn_plan_compile(dn_plan *plan);

/* A new step at the end; there is room for all. */
dn_step *dn_plan_add_step(dn_plan *plan, const dn_step_type *type, dn_layer *layer);

/* Which way a layer goes. */
typedef enum dn_way {
    DN_WAY_PLAIN,   /* on planar tensors */
    DN_WAY_BLOCKED, /* on blocked tensors */
    DN_WAY_FUSED,   /* part of the [shortcut], [upsample], [yolo] or [mask] behind it */
} dn_way;

/* What the plan knows of a layer when it makes its steps. */
typedef struct dn_plan_layer {
    dn_way way;
    bool needs_planar, needs_blocked; /* who reads its output, or keeps it */
    int32_t consumers;
} dn_plan_layer;

/* Whether the layer has a blocked form. */
bool dn_plan_fits(const dn_plan *plan, const dn_layer *layer);

/* Whether the form always pays; else only where an input is blocked already. */
bool dn_plan_is_convolution(const dn_layer *layer);

/* The convolution that can be part of the [shortcut], [mask] or, on devices, [upsample] or [yolo]
 * `layer`: the one before it, or before the [dropout] before a [shortcut]; -1: none. */
int32_t dn_plan_fusable(const dn_plan *plan, const dn_layer *layer);

/* The steps of a blocked layer. *wrote_planar: it made the planar output, not the blocked one. */
void dn_plan_emit(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer, bool *wrote_planar);

/* A convolution, with the [shortcut], [upsample] or [yolo] behind it or NULL. */
void dn_plan_emit_conv(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                       dn_layer *behind, bool *wrote_planar);
/* A [deconvolutional] whose taps do not overlap; on devices, a convolution of 1 x 1 whose filters
 * are pixels, too. */
void dn_plan_emit_deconv(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer,
                         bool *wrote_planar);
bool dn_plan_deconv_fits(const dn_plan *plan, const dn_layer *layer);

/* [route], which may be a view, in place, or copies. */
void dn_plan_emit_route(dn_plan *plan, const dn_plan_layer *layers, dn_layer *layer);

/* Makes the layer's tensor a view of its input's, from channel `from` on; false: not at a block. */
bool dn_plan_view_input(dn_plan *plan, const dn_layer *layer, int32_t from);

/* The boxes of the first [roialign], on a device where the mask branch begins; and [roialign]. */
void dn_plan_emit_boxes(dn_plan *plan);
void dn_plan_emit_rois(dn_plan *plan, dn_layer *layer);

/* [mask] and the 1x1 convolution before it, which is computed for the wanted classes alone. */
void dn_plan_emit_masks(dn_plan *plan, dn_layer *layer);
bool dn_plan_masks_fit(const dn_plan *plan, const dn_layer *layer);

/* Whether, and how, the mask branch goes in rounds; before and behind the making of the steps. */
void dn_plan_find_rounds(dn_plan *plan, const dn_plan_layer *layers);
void dn_plan_place_rounds(dn_plan *plan);

/* Images or RoIs of a layer's tensors, at most. */
int32_t dn_plan_images(const dn_plan *plan, const dn_layer *layer);

/* How images lie in the network's input: as pixels where nothing but convolutions of a device's
 * plan reads them. */
dn_input_form dn_plan_input_form(const dn_network *network);

bool dn_plan_conv_fits(const dn_plan *plan, const dn_layer *layer);
bool dn_plan_conv_writes_planar(const dn_plan *plan, const dn_layer *layer);
bool dn_plan_conv_reads_planar(const dn_plan *plan, const dn_layer *layer);

/* Makes chains of convolutions behind each other, where that pays: the last one's step does all,
 * the steps before become links, which say what to compute, write nothing and do nothing. */
void dn_plan_join_chains(dn_plan *plan, const dn_plan_layer *layers);

/* Gives convolutions the forms that tuning finds fastest; links of chains keep theirs. */
dn_status dn_plan_tune(dn_plan *plan);

/* The first of the steps that a step does. */
const dn_step *dn_plan_first_link(const dn_step *step);

/* What ends a convolution's or deconvolution's step, and its weights; both are the layer's. */
const dn_output_stage *dn_plan_stage(const dn_plan *plan, const dn_step *step,
                                     const dn_param **weights);

/* Packs all weights. */
dn_status dn_plan_pack(dn_plan *plan);

/* Moves the packed weights of `old` whose form and layout are the same to `plan`, which is compiled
 * but not packed. */
void dn_plan_take_packed(dn_plan *plan, dn_plan *old);

/* Places all tensors in one arena, and the workspace. */
dn_status dn_plan_place(dn_plan *plan);

extern const dn_step_type dn_step_plain, dn_step_to_blocked, dn_step_to_planar, dn_step_conv,
    dn_step_chain, dn_step_link, dn_step_maxpool, dn_step_upsample, dn_step_add, dn_step_scale,
    dn_step_activate, dn_step_average, dn_step_copy, dn_step_boxes, dn_step_rois, dn_step_masks;

#ifdef __cplusplus
}
#endif

#endif
