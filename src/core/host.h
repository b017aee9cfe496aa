/* A network on a device, seen from the host: copies of what lies there, and layers without a form
 * there, which run on the CPU.
 *
 * On the CPU's backend blocks are host memory: nothing here copies or allocates then, and
 * network->host is NULL.
 */
#ifndef DN_CORE_HOST_H
#define DN_CORE_HOST_H

#include "core/layer_arrays.h"
#include "core/network.h"

/* A host copy that is renewed when it is asked for and older than `version`. */
typedef struct dn_mirror {
    float *values; /* NULL: was never asked for */
    int64_t floats;
    uint64_t version;
} dn_mirror;

struct dn_host {
    float *arena; /* of the layers that run on the CPU: saved, cache, workspace, twins (plan.c) */
    int64_t arena_floats;
    float *workspace;
    float *twins;            /* copies of what such a layer reads and writes, while it runs */
    dn_layer_array *arrays;  /* of that layer */
    dn_mirror *outs, *grads; /* (layer_count) */
    dn_mirror *params;       /* (layer_count, DN_MAX_PARAMS): the copy that the caller may
                                change, and behind it the same as it was */
    dn_mirror *param_grads;  /* (layer_count, DN_MAX_PARAMS) */
    dn_mirror input_grad;
    bool touched; /* the caller has changed parameters: they go to the device at the next entry */
};

/* Makes network->host where the backend is not the CPU's; dn_host_free frees it. */
dn_status dn_host_create(dn_network *network);
void dn_host_free(dn_network *network);

/* Begins every function of the API that uses the device: makes it the calling thread's, and brings
 * in the parameters that the caller has changed (dn_network_touch). */
dn_status dn_network_enter(const dn_network *network);

/* *out = the layer's output in this pass, which has run or is behind that layer, in host memory;
 * only the live part of it counts. Valid until the next pass. */
dn_status dn_host_output(const dn_layer *layer, const dn_pass *pass, const float **out);

/* dn_host_output of gradients: NULL where there is none. */
dn_status dn_host_grad(const dn_layer *layer, const dn_pass *pass, const float **grad);
dn_status dn_host_input_grad(const dn_network *network, const float **grad);

/* What dn_network_get_param answers. */
dn_status dn_host_param(dn_network *network, int32_t layer, int32_t k, float **data, float **grad);

/* Whether the layer runs on the CPU because the device has no form of it. */
bool dn_layer_needs_host(const dn_network *network, const dn_layer *layer);

/* Floats of twins that such a layer needs. */
int64_t dn_twin_floats(dn_layer *layer, dn_network *network);

/* Runs such a layer: copies out what it reads, copies in what it wrote (host_layer.c). */
dn_status dn_host_forward(dn_layer *layer, dn_pass *pass);
dn_status dn_host_backward(dn_layer *layer, dn_pass *pass);

#endif
