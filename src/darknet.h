/* YOLO-Mask's public C API: the only installed header.
 *
 * Conventions. Functions that can fail return dn_status and leave their outputs untouched on
 * failure; dn_error_message() then holds one sentence for this thread. Handles are freed by the
 * function named at their creator. Images are interleaved 8-bit RGB; boxes are continuous pixel
 * coordinates (pixel i covers [i, i+1)). The definitions between the cffi marks are read by the
 * Python package as they stand: plain C declarations only (DN_API is removed).
 */
#ifndef DARKNET_H
#define DARKNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DN_API __attribute__((visibility("default")))
#else
#define DN_API
#endif

/* cffi: begin */

typedef enum dn_status {
    DN_OK = 0,
    DN_ERROR_CONFIG,    /* a .cfg, .data or option that makes no sense */
    DN_ERROR_WEIGHTS,   /* a weights file that is damaged or does not fit */
    DN_ERROR_DATA,      /* an image, label, list or JSON that cannot be used */
    DN_ERROR_IO,        /* the operating system refused: open, read, write, rename */
    DN_ERROR_MEMORY,    /* out of memory */
    DN_ERROR_DEVICE,    /* a GPU or its libraries */
    DN_ERROR_ARGUMENT,  /* the caller's mistake */
    DN_ERROR_CANCELLED, /* the caller's cancel callback asked to stop */
} dn_status;

/* The calling thread's last failure in one sentence; valid until its next failure. */
DN_API const char *dn_error_message(void);

/* Tests only: the n-th allocation from now (0: the next) fails once; negative: none. */
DN_API void dn_test_fail_allocation(long n);

/* A box by its corners, in continuous pixel coordinates unless said otherwise. */
typedef struct dn_box {
    float x0, y0, x1, y1;
} dn_box;

/* ---- networks ------------------------------------------------------------------------------ */

/* What trains. Layers before the first trained one run as in inference, without gradients. */
typedef enum dn_stage {
    DN_STAGE_ALL,      /* every layer; also the joint stage */
    DN_STAGE_DETECTOR, /* up to the last head before [roialign]; the branch does not run */
    DN_STAGE_MASK,     /* what follows that head */
} dn_stage;

typedef struct dn_network_options {
    int32_t batch;         /* images at a time; 0: batch/subdivisions to train, else 1 */
    int32_t width, height; /* of the input; 0: as the cfg says */
    int32_t threads;       /* 0: all cores */
    dn_stage stage;
    bool training;
    bool keep_all;   /* every layer's output (and gradient) stays readable after a pass */
    bool input_grad; /* compute the input's gradient too */
    bool strict;     /* unknown keys are errors, not warnings */
    uint64_t seed;   /* of initial weights, dropout, RoI sampling */
    void (*warn)(void *context, const char *sentence); /* may be NULL */
    void *warn_context;
} dn_network_options;

typedef struct dn_network dn_network;

typedef struct dn_network_info {
    int32_t layer_count, batch, channels, height, width;
    int64_t parameters; /* floats in a weights file of this network */
    int64_t flops;      /* an image, multiplications + additions as Darknet counts */
    int64_t arena_bytes;
    uint64_t seen;
} dn_network_info;

typedef struct dn_layer_info {
    const char *type;
    int32_t line;       /* in the cfg */
    int32_t n, c, h, w; /* capacity and shape of the output */
    int32_t live;       /* images or RoIs of the last pass */
    int32_t param_count;
    bool trains;
    const float *out;  /* (n, c, h, w), valid after a pass if kept (keep_all) */
    const float *grad; /* same, NULL where there is none */
    double loss;
    int64_t flops;
} dn_layer_info;

typedef struct dn_param_info {
    const char *name;
    int64_t count;
    float *data; /* writable: call dn_network_touch after a change */
    float *grad; /* NULL where it does not train */
} dn_param_info;

/* Builds the network of a cfg file with initial weights. Freed with dn_network_free. */
DN_API dn_status dn_network_create(const char *cfg_path, const dn_network_options *options,
                                   dn_network **out);
DN_API void dn_network_free(dn_network *network);

DN_API dn_status dn_network_get_info(const dn_network *network, dn_network_info *info);
DN_API dn_status dn_network_get_layer(const dn_network *network, int32_t layer,
                                      dn_layer_info *info);
DN_API dn_status dn_network_get_param(dn_network *network, int32_t layer, int32_t index,
                                      dn_param_info *info);
DN_API void dn_network_touch(dn_network *network);

/* The layer table's row of one layer, as Darknet prints it (without the index). */
DN_API dn_status dn_network_describe(const dn_network *network, int32_t layer, char *text,
                                     size_t size);

/* Runs `batch` images (batch, channels, height, width), planar RGB in 0..1; the input must stay
 * until the next call. `threshold` is the smallest score a detection may have. */
DN_API dn_status dn_network_forward(dn_network *network, const float *input, int32_t batch,
                                    float threshold);

/* Gradients behind a forward of a training network, added to the parameters' grad. grad_out, the
 * gradient of the last layer's output, may be NULL (losses only). */
DN_API dn_status dn_network_backward(dn_network *network, const float *grad_out);
DN_API dn_status dn_network_zero_grad(dn_network *network);
DN_API const float *dn_network_input_grad(const dn_network *network);
DN_API double dn_network_loss(const dn_network *network);

/* ---- weights files ------------------------------------------------------------------------- */

typedef struct dn_weights_report {
    int32_t layers_loaded; /* with parameters, in all files */
    int32_t layers_total;
    uint64_t seen; /* of the first file */
} dn_weights_report;

/* Reads one file, or several in order ("detector.weights,mask.weights"): each ends at a layer
 * boundary and the next goes on there. One file that ends early is partial weights, which the
 * report tells; anything else that does not fit is an error. `report` may be NULL. */
DN_API dn_status dn_network_load_weights(dn_network *network, const char *paths,
                                         dn_weights_report *report);

/* Writes layers first..last-1 (last < 0: all) through a temporary file that is renamed. */
DN_API dn_status dn_network_save_weights(dn_network *network, const char *path, int32_t first,
                                         int32_t last);
DN_API void dn_network_set_seen(dn_network *network, uint64_t seen);

/* cffi: end */

#ifdef __cplusplus
}
#endif

#endif
