/* A layer without a form on the network's device, run by the CPU between copies.
 *
 * Method. What the layer reads is copied into twins in host memory, the pointers are led to them,
 * the CPU's function runs, what it wrote is copied to the device, and the pointers are put back.
 * What the layer keeps for itself (saved, cache, workspace) stays in host memory. It costs time,
 * not correctness: a network runs on a device whichever layers have a form there.
 */
#include "core/host.h"

bool dn_layer_needs_host(const dn_network *network, const dn_layer *layer)
{
    return !network->backend->kernels(layer->type);
}

enum { DN_TWIN_ALIGN = 16 }; /* floats: 64 bytes */

static int64_t rounded(int64_t floats)
{
    return (floats + DN_TWIN_ALIGN - 1) / DN_TWIN_ALIGN * DN_TWIN_ALIGN;
}

int64_t dn_twin_floats(dn_layer *layer, dn_network *network)
{
    int64_t floats = 0;
    for (int32_t k = 0; k < layer->input_count; k++) {
        const dn_tensor *in = dn_input_shape(layer, network, k);
        floats += 2 * rounded(in->n * dn_tensor_size(in));
    }
    for (int32_t k = 0; k < layer->param_count; k++) floats += 2 * rounded(layer->params[k].count);
    return floats + 2 * rounded(layer->out.n * dn_tensor_size(&layer->out));
}

typedef enum dn_direction { DN_FORWARD, DN_BACKWARD } dn_direction;

static bool reads(dn_direction direction, dn_array_role role)
{
    return direction == DN_BACKWARD || role == DN_ARRAY_IN || role == DN_ARRAY_PARAM ||
           role == DN_ARRAY_STATISTIC;
}

static bool writes(dn_direction direction, dn_array_role role, bool training)
{
    if (direction == DN_BACKWARD) return role == DN_ARRAY_IN_GRAD || role == DN_ARRAY_PARAM_GRAD;
    return role == DN_ARRAY_OUT || (role == DN_ARRAY_STATISTIC && training);
}

/* Leads the pointers to the twins, which get the values that the layer reads. */
static dn_status lead_to_twins(const dn_layer_array *arrays, int32_t count, dn_direction direction,
                               const dn_pass *pass)
{
    float *twin = pass->network->host->twins;
    for (int32_t i = 0; i < count; i++) {
        const size_t bytes = (size_t)dn_live_floats(&arrays[i], pass) * sizeof *twin;
        if (reads(direction, arrays[i].role))
            DN_TRY(pass->network->backend->copy_out(twin, arrays[i].home, bytes));
        *arrays[i].pointer = twin;
        twin += rounded(arrays[i].floats);
    }
    return DN_OK;
}

static dn_status bring_back(const dn_layer_array *arrays, int32_t count, dn_direction direction,
                            const dn_pass *pass)
{
    for (int32_t i = 0; i < count; i++) {
        const float *twin = *arrays[i].pointer;
        const size_t bytes = (size_t)dn_live_floats(&arrays[i], pass) * sizeof *twin;
        if (writes(direction, arrays[i].role, pass->training))
            DN_TRY(pass->network->backend->copy_in(arrays[i].home, twin, bytes));
    }
    return DN_OK;
}

static dn_status run(dn_layer *layer, dn_pass *pass, dn_direction direction)
{
    dn_host *host = pass->network->host;
    const dn_layer_function function =
        direction == DN_FORWARD ? layer->type->cpu.forward : layer->type->cpu.backward;
    if (!function) return DN_OK;
    pass->workspace = host->workspace;
    const int32_t count = dn_layer_arrays(layer, pass->network, host->arrays);
    dn_status status = lead_to_twins(host->arrays, count, direction, pass);
    if (status == DN_OK) status = function(layer, pass);
    if (status == DN_OK) status = bring_back(host->arrays, count, direction, pass);
    dn_put_back(host->arrays, count);
    return status;
}

dn_status dn_host_forward(dn_layer *layer, dn_pass *pass)
{
    return run(layer, pass, DN_FORWARD);
}

dn_status dn_host_backward(dn_layer *layer, dn_pass *pass)
{
    return run(layer, pass, DN_BACKWARD);
}
