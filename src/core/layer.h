/* The layer interface: everything the rest of the program knows about a layer.
 *
 * A layer type is one file src/layers/<name>.c that defines `const dn_layer_type dn_<name>_layer`
 * and one line in layers.def. Life of a layer:
 *   1. options are parsed by the type's table into layer->options (zeroed first);
 *   2. `connect` names the layers it reads (default: the one before);
 *   3. `setup` validates, sets the output shape (dn_set_output), declares parameters in .weights
 *      order (dn_add_param, first time only) and asks for memory: layer->workspace_floats (scratch,
 *      shared by all layers, valid within one call), layer->saved_floats (kept from this layer's
 *      forward to its backward; in inference from forward to the last use of its output) and
 *      layer->cache_floats (kept from this setup to the next: what is derived from parameters);
 *      `setup` runs again when the input size changes;
 *   4. forward / backward run with pointers placed in one planned arena. No allocation there.
 * backward reads layer->out.grad and adds to dn_input(...)->grad (unless NULL) and to the
 * parameters' grad (unless NULL).
 */
#ifndef DN_CORE_LAYER_H
#define DN_CORE_LAYER_H

#include "core/option.h"
#include "core/rng.h"
#include "core/roi.h"
#include "core/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dn_network dn_network;
typedef struct dn_layer dn_layer;
typedef struct dn_detections dn_detections;

enum {
    DN_PARAM_DECAY = 1,     /* weight decay applies */
    DN_PARAM_NORM = 2,      /* scales, mean, variance: skipped by dontloadscales */
    DN_PARAM_STATISTIC = 4, /* not learned: no gradient, not updated by the optimizer */
    DN_MAX_PARAMS = 5,
};

typedef enum dn_init { DN_INIT_CONSTANT, DN_INIT_UNIFORM, DN_INIT_NORMAL } dn_init;

typedef struct dn_param {
    const char *name; /* "biases", "scales", "mean", "variance", "weights" */
    int64_t count;
    int32_t outputs; /* first dimension of the array: `numload` reads that many rows */
    uint32_t flags;
    dn_init init;
    float init_value; /* the constant, the range U(-v, v), or the standard deviation */
    float *data;
    float *grad; /* NULL where it does not train */
} dn_param;

/* What an executor hands to forward, backward and detect. */
typedef struct dn_pass dn_pass;
struct dn_pass {
    dn_network *network;
    bool training; /* false for frozen layers even while the network trains */
    int32_t batch; /* live images */
    int32_t threads;
    int64_t iteration; /* of the current stage, for random numbers */
    uint64_t seed;
    float *workspace;
    const dn_truth *truth; /* `batch` of them, or NULL (darknet.h) */
    float threshold;       /* smallest score a head reports and [roialign] keeps */
    float nms;             /* IoU threshold of suppression; negative: as the cfg says */
    bool goes_on;          /* on a device: its end is not waited for */
    const float *floats;   /* planar, on the device: the images that the pass makes pixels of
                              (dn_input_form) in network->input.data; NULL: they are there */
    /* Layer by layer: told of each layer before it runs, or NULL. */
    void (*observe)(void *context, const dn_layer *layer, const dn_pass *pass);
    void *context;
};

typedef dn_status (*dn_layer_function)(dn_layer *layer, const dn_pass *pass);

typedef struct dn_layer_kernels {
    dn_layer_function forward;
    dn_layer_function backward; /* NULL: no gradient passes (documented by the layer) */
    /* Of forms other than the CPU's, or NULL: runs behind the type's setup, each time, sets what
     * this form needs in workspace_floats, saved_floats and cache_floats, and may keep in
     * layer->device what it derives (descriptors, plans); `destroy` frees that. */
    dn_status (*setup)(dn_layer *layer, dn_network *network);
    void (*destroy)(dn_layer *layer);
    /* Of a head's form other than the CPU's, or NULL: what the type's `detect` does, from values
     * that stay on the device. */
    dn_status (*detect)(const dn_layer *layer, const dn_pass *pass, int32_t image,
                        dn_detections *detections);
} dn_layer_kernels;

typedef struct dn_layer_type {
    const char *name; /* the section's name */
    const char *aliases[2];
    size_t options_size;
    const dn_option *options;
    size_t state_size; /* zeroed private struct at layer->state */
    dn_status (*connect)(dn_layer *layer, dn_network *network);
    dn_status (*setup)(dn_layer *layer, dn_network *network);
    dn_layer_kernels cpu;
    /* Heads only: appends image `image`'s boxes with objectness > pass->threshold (detections.h).
     */
    dn_status (*detect)(const dn_layer *layer, const dn_pass *pass, int32_t image,
                        dn_detections *detections);
    /* What the CPU's forward left undone of the output until somebody asks for it, or NULL. */
    void (*complete)(const dn_layer *layer, const dn_pass *pass);
    /* The layer table's row without the index, e.g. "conv     32  3 x 3 / 1 ..."; see cli. */
    void (*describe)(const dn_layer *layer, const dn_network *network, char *text, size_t size);
    void (*destroy)(dn_layer *layer); /* frees what state points to; may be NULL */
} dn_layer_type;

/* Keys every section may hold (layer.c has the table). */
typedef struct dn_common_options {
    float learning_rate;  /* multiplies the schedule's rate */
    int32_t stopbackward; /* 1: this layer and all before are frozen; N > 1: until iteration N */
    int32_t numload;      /* read only this many filters; 0: all */
    bool dont_update;
    bool train_only_bn;
    bool dontload;
    bool dontsave;
    bool dontloadscales;
    bool onlyforward;
} dn_common_options;

struct dn_layer {
    const dn_layer_type *type;
    int32_t index; /* 0 is the first section after [net] */
    int32_t line;  /* of the section's name in the cfg */
    dn_common_options common;
    void *options;
    void *state;
    void *device; /* of the kernels that run it: see dn_layer_kernels */
    int32_t input_count;
    int32_t *inputs; /* layer indices, -1: the network's input */
    dn_tensor out;
    dn_roi_set *rois; /* NULL for image tensors */
    int32_t param_count;
    dn_param params[DN_MAX_PARAMS];
    int64_t workspace_floats;
    int64_t saved_floats;
    float *saved;
    int64_t cache_floats;
    float *cache;
    bool trains;       /* not frozen: gradients pass through */
    bool keeps_input;  /* setup: the first input must stay readable to the end of the pass */
    bool keeps_output; /* setup: so must the output (heads, masks) */
    bool has_loss;     /* setup: forward sets `loss` when pass->training */
    double loss;       /* of the last training pass, per image */
    int64_t flops;     /* setup: multiplications + additions an image, as Darknet counts */
};

/* The k-th input's tensor. */
dn_tensor *dn_input(const dn_layer *layer, const dn_pass *pass, int32_t k);
const dn_tensor *dn_input_shape(const dn_layer *layer, const dn_network *network, int32_t k);

/* Live images or RoIs of this layer's output in this pass. */
static inline int32_t dn_live(const dn_layer *layer, const dn_pass *pass)
{
    return layer->rois ? layer->rois->count : pass->batch;
}

/* "file:line: layer 12 [route]: <message>" as DN_ERROR_CONFIG. */
dn_status dn_layer_fail(const dn_layer *layer, const dn_network *network, const char *format, ...)
    DN_PRINTF(3, 4);

/* Adds an input; `reference` counts from the net's start, negative ones from this layer (-1: the
 * layer before). An index out of 0..index-1 is an error that names it. */
dn_status dn_add_input(dn_layer *layer, dn_network *network, int32_t reference);

/* The output's shape behind the same n as the inputs; dimensions < 1 or too large are errors. */
dn_status dn_set_output(dn_layer *layer, const dn_network *network, int64_t c, int64_t h,
                        int64_t w);

/* Declares the next parameter; on a second setup checks that its size is what it was. */
dn_status dn_add_param(dn_layer *layer, const dn_network *network, dn_param param);

/* The layer's parameter of this name, or NULL. */
dn_param *dn_find_param(dn_layer *layer, const char *name);

/* Fails unless the first input is an image (c, h, w) and, for several inputs, all of one w x h. */
dn_status dn_same_size_inputs(const dn_layer *layer, const dn_network *network);

/* The registry, in the order of layers.def. NULL where the name is unknown. */
const dn_layer_type *dn_layer_type_find(const char *name);
const dn_layer_type *dn_layer_type_at(int32_t index); /* NULL past the end */

extern const dn_option dn_common_option_table[];

#ifdef __cplusplus
}
#endif

#endif
