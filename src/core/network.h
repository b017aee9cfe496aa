/* The network: a list of layers, one parameter arena, one planned activation arena.
 *
 * Built from a cfg; forward and backward run layer by layer in float32 NCHW (the plain way, the
 * truth that faster plans are tested against). Nothing is global: two networks in two threads do
 * not meet. One network is used by one thread at a time.
 */
#ifndef DN_CORE_NETWORK_H
#define DN_CORE_NETWORK_H

#include "core/backend.h"
#include "core/detections.h"
#include "core/layer.h"
#include "core/net_options.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a head tells others. The private state of every layer with a `detect` begins with one. */
typedef struct dn_head_info {
    int32_t classes;
    dn_nms_kind nms_kind;
    float beta_nms;
    float jitter, random, resize;  /* augmentation and multi-scale training */
    int32_t *class_map;            /* (classes): what a label's class becomes, or NULL */
    dn_head_statistics statistics; /* of the last training pass */
} dn_head_info;

/* What [mask] saw in the last training pass. */
typedef struct dn_mask_statistics {
    double iou_sum; /* of predicted and wanted masks, both cut at .5 */
    int64_t rois;
} dn_mask_statistics;

typedef struct dn_host dn_host;             /* host.h */
typedef struct dn_paster dn_paster;         /* mask_device.h */
typedef struct dn_param_file dn_param_file; /* params.c */

/* Darknet's losses are sums, whose gradients are some tens at first: below half precision's 65,504.
 */
enum { DN_FIRST_LOSS_SCALE = 1 << 10 };

/* What another part of the program keeps with the network (infer/: its plan): freed with it. */
typedef struct dn_companion {
    void *data;
    void (*free)(void *data);
    int64_t bytes; /* of its blocks, beside the network's arena */
} dn_companion;

/* What one thread needs to make inputs of images (infer/input.h). */
enum { DN_CHUNKS = 4 };

typedef struct dn_input_scratch {
    float *floats;     /* host memory: on the CPU a batch's input, else one image's, of alloc_host;
                          NULL: not yet */
    void *floats_sent; /* a mark behind their copy to a device */
    uint8_t *pixels;   /* a block on a device: an image that becomes an input */
    size_t pixel_bytes;
    uint8_t *chunks; /* host memory of alloc_host, (DN_CHUNKS, chunk_bytes): what goes to the device
                        in turns (infer/input_send.c); NULL: not yet */
    size_t chunk_bytes;
    void *sent[DN_CHUNKS]; /* marks behind the chunks' copies */
    int32_t chunk;         /* the next one */
} dn_input_scratch;

void dn_input_scratch_free(const dn_backend *backend, dn_input_scratch *scratch);

/* Of values: it holds 0. */
typedef struct dn_range {
    float low, high;
} dn_range;

struct dn_network {
    dn_cfg *cfg;
    dn_net_options net; /* the [net] section */
    dn_network_options options;
    const dn_backend *backend; /* holds arena, parameters and gradients, and runs the layers */
    int32_t device;            /* the backend's, 0: the first */
    char device_name[16];      /* "cpu", "cuda:1" */
    dn_host *host;             /* what the host holds of a network elsewhere; NULL on the CPU */
    int32_t layer_count;
    dn_layer *layers;
    int32_t batch;          /* capacity in images */
    int32_t run_count;      /* layers that run: fewer than layer_count in the detector stage */
    int32_t train_from;     /* layers before it are frozen now; layer_count: none trains */
    int32_t may_train_from; /* layers before it never train: they have no gradients */
    dn_tensor input;        /* (batch, channels, height, width); see dn_network_set_input */
    int64_t param_floats;
    float *params;             /* parameters of all layers in .weights order */
    bool params_due;           /* nobody has asked for their values yet: see params.h */
    dn_param_file *param_file; /* that large ones stay in, or NULL */
    float *param_grads;        /* of layers from train_from on, at equal offsets behind the first */
    int64_t param_grad_start;  /* offset in `params` of the first trained parameter */
    float *arena;              /* activations, saved tensors, workspace */
    int64_t arena_floats;
    float *workspace;
    int32_t *grad_writer;     /* per layer: the last consumer, where its gradient is zeroed */
    dn_pass pass;             /* of the last forward */
    uint64_t passes;          /* changes with every forward and backward: host copies compare it */
    double branch_seconds;    /* of the last forward in the mask branch; 0: none, or not known */
    dn_detections detections; /* of the last dn_detect */
    dn_mask_statistics mask_statistics;
    float loss_scale;         /* factor of all gradients, a power of two: dn_network_loss_scale */
    float mask_scale_factor;  /* multiplies [mask]'s mask_scale: the joint stage's ramp, else 1 */
    dn_input_scratch scratch; /* of predict's input */
    void *behind;             /* a mark behind a pass whose end nobody has waited for, or NULL */
    uint64_t weights_version; /* changes when parameters change: caches compare it */
    uint64_t frozen_version;  /* the same for layers that do not train: no optimizer step counts */
    uint64_t setups;          /* changes when the layers are set up: for another input size */
    bool host_layers;         /* some layer runs on the CPU while the network does not */
    dn_range *ranges; /* (layer_count): of the convolutions' inputs (calibration.h), or NULL */
    char *tune;       /* options.tune: owned, or NULL */
    dn_companion companion;
    dn_paster *paster; /* where masks become strings on the device (mask_device.h), or NULL */
    struct dn_paster_pool *pasters; /* of masks that stay there (paster_pool.h), or NULL */
    uint64_t seen;                  /* images, as the weights file says */
    int32_t version[3];             /* header words of the weights file read */
};

/* A sentence for dn_network_options.warn. */
void dn_network_warn(const dn_network *network, const char *sentence);

/* Everything of a network but memory for activations and parameters, from the cfg at `path`. */
dn_status dn_network_read(dn_network *network, const char *path);

/* The cfg's layers and shapes for one image, without memory for parameters and activations: it can
 * be looked at, not run. Freed with dn_network_free. */
dn_status dn_network_outline(const char *cfg_path, dn_network **out);

/* Whether inference runs by a plan of fused steps with memory of its own, infer/plan.h, not layer
 * by layer: then the arena here is not reserved. */
bool dn_network_fuses(const dn_network *network);

static inline bool dn_precision_is_int8(dn_precision precision)
{
    return precision == DN_PRECISION_INT8 || precision == DN_PRECISION_INT8_EVERYWHERE;
}

/* What a forward does before and behind the layers. */
dn_status dn_pass_begin(dn_network *network, dn_pass *pass);
void dn_pass_end(dn_network *network, dn_pass *pass);

/* Runs the layers on `batch` images, one after the other; `pass` holds threshold, nms, truth,
 * iteration and seed; its other fields are filled here. dn_network_set_input comes before. For
 * inference: infer/forward.h. */
dn_status dn_run_forward(dn_network *network, dn_pass *pass);

/* Makes `input`, (batch, channels, height, width) in memory of the host or of the network's device,
 * the input of the next pass. On the CPU it is read where it lies and must stay until the pass
 * behind that. */
dn_status dn_network_set_input(dn_network *network, const float *input, int32_t batch);

/* *there: the input lies in memory of the network's device, which is selected. */
dn_status dn_network_input_is_there(const dn_network *network, const float *input, bool *there);

/* Gradients of all losses into the parameters (accumulating), with the pass of the last training
 * forward; grad_out as in dn_network_backward. */
dn_status dn_run_backward(dn_network *network, const float *grad_out);

/* The last head before layer `before` (the network's length: of all); `classes` is the largest of
 * these heads. An error where there is none. */
dn_status dn_network_head(const dn_network *network, int32_t before, dn_head_info *info);

/* Which layers run and which may train, by the options' stage and stopbackward=1. */
dn_status dn_network_set_stage(dn_network *network);

/* Freezes the layers that stopbackward=N holds until training iteration N (1, 2, ...), and thaws
 * them from there on. */
void dn_network_thaw(dn_network *network, int64_t iteration);

/* Sets up all layers for the input's size. */
dn_status dn_network_setup(dn_network *network);

/* Places every tensor in the arena, which grows where it must (plan.c). */
dn_status dn_network_plan(dn_network *network);

/* Index of the first [roialign] or -1. */
int32_t dn_network_roialign(const dn_network *network);

/* The layer behind the last head before [roialign]; without [roialign]: behind the last head. */
int32_t dn_network_detector_end(const dn_network *network);

/* The first layer of the mask branch: dn_network_detector_end, or -1 without [roialign]. */
int32_t dn_network_branch(const dn_network *network);

#ifdef __cplusplus
}
#endif

#endif
