/* [mask] on CUDA; the cells' losses and gradients: math/mask_loss.h.
 *
 * In inference the RoIs of [roialign] on the device say whose channel is asked. In training the
 * host makes the targets from the run-length masks (dn_mask_learn_from); channels, weights and
 * targets travel in one copy, for which nobody waits. Sums over a RoI's cells are made row by row,
 * one thread each, and then over the rows; the CPU's are made cell by cell, so that losses agree to
 * the rounding of double.
 */
#include "records.h"
#include "staging.h"

#include "layers/mask.h"
#include "math/activation.h"

#include <stdlib.h>

typedef struct dn_mask_device {
    dn_staging staging;
} dn_mask_device;

/* One part for all live RoIs: the host's where it is written, the device's where it is read. */
typedef struct dn_mask_parts {
    int32_t *channels;     /* (n): each RoI's in the layer's input */
    int32_t *learns;       /* (n): whether the RoI has a truth */
    float *weights;        /* (n): of its loss */
    dn_mask_slope *slopes; /* (n): made on the device */
    float *targets;        /* (live, h, w) */
} dn_mask_parts;

/* Bytes of a RoI's part without its target. */
static const size_t roi_bytes = 2 * sizeof(int32_t) + sizeof(float) + sizeof(dn_mask_slope);

static dn_mask_parts parts_of(char *base, int32_t n)
{
    dn_mask_parts parts;
    parts.channels = (int32_t *)(void *)base;
    parts.learns = parts.channels + n;
    parts.weights = (float *)(void *)(parts.learns + n);
    parts.slopes = (dn_mask_slope *)(void *)(parts.weights + n);
    parts.targets = (float *)(void *)(base + (size_t)n * roi_bytes);
    return parts;
}

/* Bytes of the parts with so many targets. */
static size_t bytes_of(const dn_layer *layer, int32_t targets)
{
    return (size_t)layer->out.n * roi_bytes +
           (size_t)targets * (size_t)dn_tensor_size(&layer->out) * sizeof(float);
}

static dn_status setup(dn_layer *layer, dn_network *)
{
    if (!layer->device) layer->device = calloc(1, sizeof(dn_mask_device));
    dn_mask_device *device = (dn_mask_device *)layer->device;
    if (!device) return DN_ERROR_MEMORY;
    layer->saved_floats = 0;
    layer->workspace_floats = 0;
    if (layer->trains) {
        const int64_t rows = (int64_t)layer->out.n * layer->out.h;
        layer->workspace_floats =
            rows * (int64_t)(sizeof(dn_mask_sums) / sizeof(float)) +
            dn_records_floats(layer->out.n, (int32_t)(sizeof(dn_mask_measure) / sizeof(double)));
    }
    return dn_staging_begin(&device->staging, bytes_of(layer, layer->trains ? layer->out.n : 0));
}

static void destroy(dn_layer *layer)
{
    dn_mask_device *device = (dn_mask_device *)layer->device;
    if (!device) return;
    dn_staging_free(&device->staging);
    free(device);
    layer->device = nullptr;
}

/* How the RoIs' planes lie in the layer's input. */
typedef struct dn_mask_shape {
    int32_t channels, h, w;
    bool dice;
} dn_mask_shape;

static dn_mask_shape shape_of(const dn_layer *layer, const dn_pass *pass)
{
    const dn_mask_options *o = (const dn_mask_options *)layer->options;
    const dn_mask_shape shape = {dn_input(layer, pass, 0)->c, layer->out.h, layer->out.w,
                                 o->loss == DN_MASK_BCE_DICE};
    return shape;
}

/* Where RoI r's plane begins in the input. */
static __device__ int64_t start_of(const dn_mask_shape *shape, const int32_t *channels, int64_t r)
{
    return (r * shape->channels + channels[r]) * shape->h * shape->w;
}

/* channels (RoIs) from the boxes that [roialign] has chosen. */
static __global__ void set_channels(const dn_roi *rois, bool one, int32_t *channels, int64_t count)
{
    DN_GRID_STRIDE(r, count) channels[r] = one ? 0 : rois[r].class_id;
}

static __global__ void activate(dn_mask_shape shape, const int32_t *channels, const float *in,
                                float *out, int64_t count)
{
    const int32_t cells = shape.h * shape.w;
    DN_GRID_STRIDE(i, count) {
        const int64_t r = i / cells;
        out[i] = dn_logistic(in[start_of(&shape, channels, r) + (i - r * cells)]);
    }
}

/* rows (RoIs, h) of what learns */
static __global__ void sum_rows(dn_mask_shape shape, dn_mask_parts parts, const float *in,
                                const float *out, dn_mask_sums *rows, int64_t count)
{
    DN_GRID_STRIDE(i, count) {
        const int64_t r = i / shape.h, y = i - r * shape.h;
        const float *logits = in + start_of(&shape, parts.channels, r) + y * shape.w;
        dn_mask_sums sums = dn_mask_sums();
        for (int32_t x = 0; x < shape.w && parts.learns[r]; x++)
            dn_mask_add(&sums, logits[x], out[i * shape.w + x], parts.targets[i * shape.w + x]);
        rows[i] = sums;
    }
}

/* The slopes, and measures (RoIs) that are to be added: the loss weighted, both 0 without truth. */
static __global__ void measure(dn_mask_shape shape, dn_mask_parts parts, const dn_mask_sums *rows,
                               dn_mask_measure *measures, int64_t count)
{
    DN_GRID_STRIDE(r, count) {
        dn_mask_sums sums = dn_mask_sums();
        for (int32_t y = 0; y < shape.h; y++) {
            const dn_mask_sums *row = &rows[r * shape.h + y];
            sums.bce += row->bce;
            sums.both += row->both;
            sums.squares += row->squares;
            sums.intersection += row->intersection;
            sums.all += row->all;
        }
        dn_mask_measure found = dn_mask_measure_of(&sums, shape.h * shape.w, shape.dice);
        found.loss *= (double)parts.weights[r];
        if (!parts.learns[r]) found.loss = found.iou = 0.0;
        parts.slopes[r] = dn_mask_slope_of(&sums, shape.dice);
        measures[r] = found;
    }
}

static int64_t learning_rois(const dn_layer *layer)
{
    int64_t count = 0;
    for (int32_t r = 0; r < layer->rois->count; r++) count += layer->rois->rois[r].truth >= 0;
    return count;
}

static dn_status find_loss(dn_layer *layer, const dn_pass *pass, dn_mask_parts parts)
{
    const dn_mask_shape shape = shape_of(layer, pass);
    const int32_t live = layer->rois->count;
    const int64_t rows = (int64_t)live * shape.h;
    dn_mask_sums *row_sums = (dn_mask_sums *)(void *)pass->workspace; /* (live, h) */
    dn_mask_measure *measures = (dn_mask_measure *)(void *)(row_sums + rows), sum;
    DN_LAUNCH(sum_rows, rows, shape, parts, dn_input(layer, pass, 0)->data, layer->out.data,
              row_sums, rows);
    DN_CUDA_TRY(cudaGetLastError());
    DN_LAUNCH(measure, live, shape, parts, row_sums, measures, live);
    DN_CUDA_TRY(cudaGetLastError());
    DN_TRY(
        dn_records_sum(&measures->loss, live, (int32_t)(sizeof sum / sizeof(double)), &sum.loss));
    layer->loss = sum.loss / pass->batch;
    pass->network->mask_statistics.iou_sum = sum.iou;
    pass->network->mask_statistics.rois = learning_rois(layer);
    return DN_OK;
}

/* What the host knows of the RoIs, and what they learn. */
static dn_status send_parts(const dn_layer *layer, const dn_pass *pass, dn_staging *staging)
{
    const int32_t live = layer->rois->count;
    const dn_mask_parts host = parts_of(staging->host, layer->out.n);
    for (int32_t r = 0; r < live; r++) {
        host.channels[r] = dn_mask_channel(layer, r);
        host.learns[r] = layer->rois->rois[r].truth >= 0;
    }
    if (pass->training) DN_TRY(dn_mask_learn_from(layer, pass, host.weights, host.targets));
    return dn_staging_send(staging, bytes_of(layer, pass->training ? live : 0));
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    dn_staging *staging = &((dn_mask_device *)layer->device)->staging;
    const dn_mask_options *o = (const dn_mask_options *)layer->options;
    const int32_t live = layer->rois->count;
    const int64_t count = live * dn_tensor_size(&layer->out);
    const dn_roi *rois = pass->training ? nullptr : layer->rois->on_device;
    DN_TRY(dn_mask_check_rois(layer, pass));
    DN_TRY(dn_staging_begin(staging, bytes_of(layer, pass->training ? live : 0)));
    const dn_mask_parts block = parts_of(staging->block, layer->out.n);
    if (rois)
        DN_LAUNCH(set_channels, live, rois, o->classes == 1, block.channels, live);
    else
        DN_TRY(send_parts(layer, pass, staging));
    DN_LAUNCH(activate, count, shape_of(layer, pass), block.channels,
              dn_input(layer, pass, 0)->data, layer->out.data, count);
    DN_CUDA_TRY(cudaGetLastError());
    layer->loss = 0;
    return pass->training ? find_loss(layer, pass, block) : DN_OK;
}

static __global__ void add_gradient(dn_mask_shape shape, dn_mask_parts parts, float factor,
                                    const float *out, float *grad, int64_t count)
{
    const int32_t cells = shape.h * shape.w;
    DN_GRID_STRIDE(i, count) {
        const int64_t r = i / cells;
        if (parts.weights[r] == 0.0f) continue;
        grad[start_of(&shape, parts.channels, r) + (i - r * cells)] +=
            parts.weights[r] * factor *
            dn_mask_gradient(parts.slopes[r], cells, out[i], parts.targets[i]);
    }
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_staging *staging = &((const dn_mask_device *)layer->device)->staging;
    float *grad = dn_input(layer, pass, 0)->grad;
    const int64_t count = layer->rois->count * dn_tensor_size(&layer->out);
    if (!grad) return DN_OK;
    DN_LAUNCH(add_gradient, count, shape_of(layer, pass), parts_of(staging->block, layer->out.n),
              pass->network->loss_scale, layer->out.data, grad, count);
    DN_CUDA_TRY(cudaGetLastError());
    return DN_OK;
}

const dn_layer_kernels dn_mask_cuda = {forward, backward, setup, destroy};
