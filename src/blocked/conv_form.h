/* A form of the convolution: one way to compute it on blocked tensors. Each form is one file
 * (conv_direct.c, conv_pointwise.c, conv_winograd.c ...) and one line in kernels.c.
 *
 * out = f2(f1(factor * (W * in) + shift) + add), where factor is in the packed weights already, f1
 * is the layer's activation, and `add` and f2 a [shortcut] behind it, where there is one.
 *
 * A form's work is cut into phases, one after the other; a phase into tasks, which run in any
 * order, on any thread, each with a scratch of its own. Every output is summed in the same way
 * however the tasks are cut, so results do not depend on the number of threads. Nothing is
 * allocated here.
 */
#ifndef DN_BLOCKED_CONV_FORM_H
#define DN_BLOCKED_CONV_FORM_H

#include "blocked/blocked.h"
#include "math/activation.h"
#include "math/col2im.h"

#include <stdbool.h>

/* What the products are computed in. Tensors are float32 whatever it is. */
typedef enum dn_conv_precision {
    DN_CONV_F32,
    DN_CONV_BF16, /* both factors rounded to bfloat16, float32 sums */
    DN_CONV_INT8, /* uint8 inputs, int8 weights with a scale a filter, int32 sums */
} dn_conv_precision;

/* x is about scale * (q - zero), q in 0..255. */
typedef struct dn_quantization {
    float scale;
    int32_t zero;
} dn_quantization;

typedef struct dn_conv_problem {
    dn_conv_geometry geometry; /* of one group: geometry.c input channels */
    int32_t images;            /* at most: sizes of memory and the estimate are for these */
    int32_t groups;
    int32_t filters; /* of one group */
    bool planar_in;  /* the input is (images, c, h, w), not blocked */
    bool planar_out; /* so is the output */
    bool adds;
    dn_activation activation;    /* f1 */
    dn_activation after_add;     /* f2; linear where nothing is added */
    dn_conv_precision precision; /* the lowest that is allowed, or that of the form in use */
    dn_quantization in_quant;    /* of the input, for DN_CONV_INT8 */
} dn_conv_problem;

typedef struct dn_conv_call {
    dn_conv_problem problem; /* images: live ones, at most those planned */
    dn_blocked in, out;      /* planar ones: image_stride is c * h * w */
    dn_blocked add;          /* of out's shape; it may be `out` itself; data NULL: none */
    const void *packed;
    const float *shift; /* (groups * filters), readable to the end of the last block; zeros there */
    void *shared;       /* shared_bytes, between phases; 64-byte aligned */
} dn_conv_call;

typedef struct dn_conv_form {
    const char *name;
    dn_conv_precision precision;
    bool exact; /* sums the products themselves; Winograd's transforms do not */
    int32_t phases;

    bool (*fits)(const dn_conv_problem *problem);
    /* Estimated microseconds on an idle core of 3.5 GHz, divided among `threads`
     * (throughput.h). */
    double (*cost)(const dn_conv_problem *problem, int32_t threads);

    /* weights: (groups * filters, c, size, size); factor: (groups * filters), NULL: ones. Task i of
     * pack_tasks writes its own part of `packed`. */
    int64_t (*packed_bytes)(const dn_conv_problem *problem);
    int32_t (*pack_tasks)(const dn_conv_problem *problem);
    void (*pack)(const dn_conv_problem *problem, const float *weights, const float *factor,
                 void *packed, int32_t task);

    int64_t (*shared_bytes)(const dn_conv_problem *problem);
    int64_t (*scratch_bytes)(const dn_conv_problem *problem); /* of one thread */
    int32_t (*tasks)(const dn_conv_call *call, int32_t phase, int32_t threads);
    void (*run)(const dn_conv_call *call, int32_t phase, int32_t task, void *scratch);
} dn_conv_form;

#endif
