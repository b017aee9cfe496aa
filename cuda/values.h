/* The wanted outputs of a pass (dn_truth.values) on the device: what [softmax], [logistic] and
 * [cost] compare with. */
#ifndef DN_CUDA_VALUES_H
#define DN_CUDA_VALUES_H

#include "core/network.h"
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

#endif
