/* Running a network layer by layer: the plain way, forward and backward. See network.h. */
#include "core/network.h"

#include <string.h>

static dn_status zero(const dn_network *network, float *values, int64_t count)
{
    return network->backend->zero(values, (size_t)count * sizeof *values);
}

dn_status dn_run_forward(dn_network *network, dn_pass *pass)
{
    pass->network = network;
    pass->threads = network->options.threads;
    pass->seed = network->options.seed;
    pass->workspace = network->workspace;
    for (int32_t i = 0; i < network->run_count; i++) {
        dn_layer *layer = &network->layers[i];
        pass->training = layer->trains;
        DN_TRY(network->backend->kernels(layer->type)->forward(layer, pass));
    }
    pass->training = network->options.training;
    network->pass = *pass;
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
    if (network->input.grad)
        DN_TRY(
            zero(network, network->input.grad, network->input.n * dn_tensor_size(&network->input)));
    for (int32_t i = network->run_count - 1; i >= network->train_from; i--) {
        dn_layer *layer = &network->layers[i];
        DN_TRY(start_grads(network, i, grad_out));
        const dn_layer_kernels *kernels = network->backend->kernels(layer->type);
        if (kernels->backward && !layer->common.onlyforward)
            DN_TRY(kernels->backward(layer, &pass));
    }
    return DN_OK;
}

static dn_status set_input(dn_network *network, const float *input, int32_t batch)
{
    if (batch < 1 || batch > network->batch)
        return dn_fail(DN_ERROR_ARGUMENT, "batch %d: this network was made for 1..%d", batch,
                       network->batch);
    float *data;
    memcpy(&data, &input, sizeof data); /* layers read it only */
    network->input.data = data;
    return DN_OK;
}

dn_status dn_network_forward(dn_network *network, const float *input, int32_t batch,
                             float threshold)
{
    DN_TRY(set_input(network, input, batch));
    dn_pass pass = {.batch = batch, .threshold = threshold, .nms = -1.0f};
    return dn_run_forward(network, &pass);
}

dn_status dn_network_train_forward(dn_network *network, const float *input, int32_t batch,
                                   const dn_truth *truth, int64_t iteration)
{
    if (!network->options.training)
        return dn_fail(DN_ERROR_ARGUMENT, "a training pass needs a network made with training");
    DN_TRY(set_input(network, input, batch));
    dn_pass pass = {.batch = batch, .iteration = iteration, .nms = -1.0f, .truth = truth};
    return dn_run_forward(network, &pass);
}

dn_status dn_network_backward(dn_network *network, const float *grad_out)
{
    return dn_run_backward(network, grad_out);
}

dn_status dn_network_zero_grad(dn_network *network)
{
    const int64_t count = network->param_floats - network->param_grad_start;
    memset(network->param_grads, 0, (size_t)count * sizeof *network->param_grads);
    return DN_OK;
}

const float *dn_network_input_grad(const dn_network *network)
{
    return network->input.grad;
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
