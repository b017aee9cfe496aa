/* The wanted outputs of a pass (dn_truth.values) on the device: what [softmax], [logistic] and
 * [cost] compare with. */
#ifndef DN_CUDA_VALUES_H
#define DN_CUDA_VALUES_H

#include "core/network.h"
#include "launch.h"
#include "staging.h"

/* In layer->device. */
typedef struct dn_values_device {
    dn_staging staging;
    bool there; /* the last training pass had some */
} dn_values_device;

/* In device memory; `present` is NULL where no image of the pass has values. */
typedef struct dn_wanted {
    const int32_t *present; /* (batch): whether the image has some */
    const float *values;    /* (batch, size) */
    int64_t size;
} dn_wanted;

/* A layer's setup, for one that has a loss: room for the values, and the workspace that
 * dn_values_sum needs; and its destroy. */
dn_status dn_values_setup(dn_layer *layer, dn_network *network);
void dn_values_destroy(dn_layer *layer);

/* Copies the values of a training pass there. */
dn_status dn_values_send(dn_layer *layer, const dn_pass *pass, dn_wanted *wanted);

/* Those of the last training pass. */
dn_wanted dn_values_of(const dn_layer *layer);

/* How many partial sums a loss is made of: lane k adds elements k, k + lanes, k + 2 lanes, ... */
int64_t dn_values_lanes(const dn_layer *layer, const dn_pass *pass);

/* *sum = of the lanes' sums, which lie in the workspace. */
dn_status dn_values_sum(const dn_layer *layer, const dn_pass *pass, double *sum);

/* Whether element i of the layer's output is compared. */
static inline __device__ bool dn_is_wanted(dn_wanted wanted, int64_t i)
{
    return wanted.present && wanted.present[i / wanted.size] != 0;
}

/* sums[lane] = the lane's losses: loss(value, wanted) is one element's. */
template <typename Loss>
static __global__ void dn_add_value_losses(Loss loss, dn_wanted wanted, const float *in,
                                           int64_t count, double *sums, int64_t lanes)
{
    DN_GRID_STRIDE(lane, lanes) {
        double sum = 0.0;
        for (int64_t i = lane; i < count; i += lanes)
            if (dn_is_wanted(wanted, i)) sum += (double)loss(in[i], wanted.values[i]);
        sums[lane] = sum;
    }
}

/* layer->loss = the losses of `in`, (batch, size), an image; 0 where nothing is wanted. Waits for
 * the device. */
template <typename Loss>
static dn_status dn_values_loss(dn_layer *layer, const dn_pass *pass, const float *in, Loss loss)
{
    const int64_t count = pass->batch * dn_tensor_size(&layer->out);
    const int64_t lanes = dn_values_lanes(layer, pass);
    double *sums = (double *)(void *)pass->workspace, sum = 0;
    dn_wanted wanted;
    layer->loss = 0;
    DN_TRY(dn_values_send(layer, pass, &wanted));
    if (!wanted.present) return DN_OK;
    DN_LAUNCH(dn_add_value_losses, lanes, loss, wanted, in, count, sums, lanes);
    DN_CUDA_TRY(cudaGetLastError());
    DN_TRY(dn_values_sum(layer, pass, &sum));
    layer->loss = sum / pass->batch;
    return DN_OK;
}

#endif
