/* Running a network layer by layer: the plain way, forward and backward. See network.h. */
#include "core/host.h"
#include "math/clock.h"

#include <string.h>

static dn_status zero(const dn_network *network, float *values, int64_t count)
{
    return network->backend->zero(values, (size_t)count * sizeof *values);
}

/* Where it happened, before what the device says. */
static dn_status at_layer(const dn_layer *layer, dn_status status)
{
    if (status != DN_ERROR_DEVICE) return status;
    return dn_fail_prefix(status, "layer %d [%s] (line %d)", layer->index, layer->type->name,
                          layer->line);
}

static dn_status forward_layer(dn_layer *layer, dn_pass *pass)
{
    const dn_layer_kernels *kernels = pass->network->backend->kernels(layer->type);
    pass->workspace = pass->network->workspace;
    return at_layer(layer, kernels ? kernels->forward(layer, pass) : dn_host_forward(layer, pass));
}

static dn_status backward_layer(dn_layer *layer, dn_pass *pass)
{
    const dn_layer_kernels *kernels = pass->network->backend->kernels(layer->type);
    pass->workspace = pass->network->workspace;
    if (!kernels) return at_layer(layer, dn_host_backward(layer, pass));
    return kernels->backward ? at_layer(layer, kernels->backward(layer, pass)) : DN_OK;
}

dn_status dn_pass_begin(dn_network *network, dn_pass *pass)
{
    DN_TRY(dn_network_enter(network));
    network->passes++;
    pass->network = network;
    pass->threads = network->options.threads;
    pass->seed = network->options.seed;
    return DN_OK;
}

void dn_pass_end(dn_network *network, dn_pass *pass)
{
    pass->training = network->options.training;
    network->pass = *pass;
}

dn_status dn_run_forward(dn_network *network, dn_pass *pass)
{
    DN_TRY(dn_pass_begin(network, pass));
    /* on a device the branch's time cannot be told: it runs behind */
    const int32_t branch = network->host ? -1 : dn_network_branch(network);
    double began = 0.0;
    for (int32_t i = 0; i < network->run_count; i++) {
        dn_layer *layer = &network->layers[i];
        if (i == branch) began = dn_now();
        pass->training = layer->trains;
        if (pass->observe) pass->observe(pass->context, layer, pass);
        DN_TRY(forward_layer(layer, pass));
    }
    network->branch_seconds = began > 0.0 ? dn_now() - began : 0.0;
    dn_pass_end(network, pass);
    return DN_OK;
}

/* A gradient starts at zero just before its last reader, the first to write it, runs. */
static dn_status start_grads(dn_network *network, int32_t writer, const float *grad_out)
{
    for (int32_t i = 0; i <= writer; i++) {
        dn_layer *layer = &network->layers[i];
        if (!layer->out.grad || network->grad_writer[i] != writer) continue;
        const int64_t live = dn_live(layer, &network->pass) * dn_tensor_size(&layer->out);
        if (i == network->run_count - 1 && grad_out)
            DN_TRY(network->backend->copy_in(layer->out.grad, grad_out,
                                             (size_t)live * sizeof *grad_out));
        else
            DN_TRY(zero(network, layer->out.grad, live));
    }
    return DN_OK;
}

dn_status dn_run_backward(dn_network *network, const float *grad_out)
{
    dn_pass pass = network->pass;
    if (!network->options.training)
        return dn_fail(DN_ERROR_ARGUMENT, "backward needs a network made with training = true");
    if (pass.batch == 0)
        return dn_fail(DN_ERROR_ARGUMENT, "backward needs a forward pass before it");
    DN_TRY(dn_network_enter(network));
    network->passes++;
    if (network->input.grad)
        DN_TRY(
            zero(network, network->input.grad, network->input.n * dn_tensor_size(&network->input)));
    for (int32_t i = network->run_count - 1; i >= network->train_from; i--) {
        dn_layer *layer = &network->layers[i];
        DN_TRY(start_grads(network, i, grad_out));
        if (!layer->common.onlyforward) DN_TRY(backward_layer(layer, &pass));
    }
    return DN_OK;
}

dn_status dn_network_input_is_there(const dn_network *network, const float *input, bool *there)
{
    const dn_backend *backend = network->backend;
    *there = false;
    return backend->find ? backend->find(input, there) : DN_OK;
}

dn_status dn_network_set_input(dn_network *network, const float *input, int32_t batch)
{
    if (batch < 1 || batch > network->batch)
        return dn_fail(DN_ERROR_ARGUMENT, "batch %d: this network was made for 1..%d", batch,
                       network->batch);
    if (network->host) {
        const size_t floats = (size_t)batch * (size_t)dn_tensor_size(&network->input);
        const dn_backend *backend = network->backend;
        bool there;
        DN_TRY(dn_network_enter(network));
        DN_TRY(dn_network_input_is_there(network, input, &there));
        return (there ? backend->copy : backend->copy_in)(network->input.data, input,
                                                          floats * sizeof *input);
    }
    float *data;
    memcpy(&data, &input, sizeof data); /* layers read it only */
    network->input.data = data;
    return DN_OK;
}

/* An entry of the API leaves no work behind: the network may go to another thread, and what failed
 * is told where it was asked for. */
static dn_status finish(const dn_network *network, dn_status status)
{
    return status == DN_OK ? network->backend->synchronise() : status;
}

dn_status dn_network_train_forward(dn_network *network, const float *input, int32_t batch,
                                   const dn_truth *truth, int64_t iteration)
{
    if (!network->options.training)
        return dn_fail(DN_ERROR_ARGUMENT, "a training pass needs a network made with training");
    DN_TRY(dn_network_set_input(network, input, batch));
    dn_pass pass = {.batch = batch, .iteration = iteration, .nms = -1.0f, .truth = truth};
    return finish(network, dn_run_forward(network, &pass));
}

dn_status dn_network_backward(dn_network *network, const float *grad_out)
{
    return finish(network, dn_run_backward(network, grad_out));
}

dn_status dn_network_zero_grad(dn_network *network)
{
    const int64_t count = network->param_floats - network->param_grad_start;
    DN_TRY(dn_network_enter(network));
    return finish(network, zero(network, network->param_grads, count));
}

const float *dn_network_input_grad(const dn_network *network)
{
    const float *grad = NULL;
    if (dn_network_enter(network) != DN_OK) return NULL;
    return dn_host_input_grad(network, &grad) == DN_OK ? grad : NULL;
}

double dn_network_loss(const dn_network *network)
{
    double sum = 0;
    int32_t count = 0;
    for (int32_t i = network->train_from; i < network->run_count; i++) {
        if (!network->layers[i].has_loss) continue;
        sum += network->layers[i].loss;
        count++;
    }
    return count ? sum / count : 0;
}
