/* The optimizer: see optimizer.h. */
#include "core/optimizer.h"

#include "core/memory.h"

#include <math.h>
#include <string.h>

dn_status dn_optimizer_create(const dn_network *network, dn_optimizer **out)
{
    const dn_net_options *net = &network->net;
    const bool mask_stage = network->options.stage == DN_STAGE_MASK;
    const int64_t trained = network->param_floats - network->param_grad_start;
    dn_optimizer *optimizer = dn_alloc(sizeof *optimizer);
    if (!optimizer) return DN_ERROR_MEMORY;
    *optimizer = (dn_optimizer){
        .adam = mask_stage ? net->mask_adam : net->adam,
        .momentum = mask_stage ? net->mask_momentum : net->momentum,
        .decay = mask_stage ? net->mask_decay : net->decay,
        .beta1 = net->beta1,
        .beta2 = net->beta2,
        .epsilon = net->epsilon,
    };
    optimizer->floats = optimizer->adam ? 2 * trained : trained;
    optimizer->moments = dn_alloc((size_t)optimizer->floats * sizeof(float));
    if (!optimizer->moments) {
        dn_free(optimizer);
        return DN_ERROR_MEMORY;
    }
    *out = optimizer;
    return DN_OK;
}

void dn_optimizer_free(dn_optimizer *optimizer)
{
    if (!optimizer) return;
    dn_free(optimizer->moments);
    dn_free(optimizer);
}

typedef struct update {
    float rate, decay, scale; /* scale: 1 / batch */
} update;

static void sgd(const dn_optimizer *optimizer, const dn_param *param, update u, float *v)
{
    for (int64_t i = 0; i < param->count; i++) {
        v[i] = optimizer->momentum * v[i] + u.scale * param->grad[i] + u.decay * param->data[i];
        param->data[i] -= u.rate * v[i];
    }
}

static void adam(const dn_optimizer *optimizer, const dn_param *param, update u, float *first,
                 float *second)
{
    const double t = (double)optimizer->steps;
    const float correct1 = (float)(1 / (1 - pow((double)optimizer->beta1, t)));
    const float correct2 = (float)(1 / (1 - pow((double)optimizer->beta2, t)));
    for (int64_t i = 0; i < param->count; i++) {
        const float g = u.scale * param->grad[i] + u.decay * param->data[i];
        first[i] = optimizer->beta1 * first[i] + (1.0f - optimizer->beta1) * g;
        second[i] = optimizer->beta2 * second[i] + (1.0f - optimizer->beta2) * g * g;
        param->data[i] -=
            u.rate * correct1 * first[i] / (sqrtf(correct2 * second[i]) + optimizer->epsilon);
    }
}

static bool is_updated(const dn_layer *layer, const dn_param *param)
{
    if (!param->grad || layer->common.dont_update) return false;
    return !layer->common.train_only_bn || strcmp(param->name, "weights") != 0;
}

void dn_optimizer_step(dn_optimizer *optimizer, dn_network *network, float rate, int32_t batch)
{
    const int64_t trained = network->param_floats - network->param_grad_start;
    optimizer->steps++;
    for (int32_t i = network->train_from; i < network->layer_count; i++) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->param_count; k++) {
            const dn_param *param = &layer->params[k];
            if (!is_updated(layer, param)) continue;
            const update u = {rate * layer->common.learning_rate,
                              param->flags & DN_PARAM_DECAY ? optimizer->decay : 0.0f,
                              1.0f / (float)batch};
            float *moments = optimizer->moments + (param->grad - network->param_grads);
            if (optimizer->adam)
                adam(optimizer, param, u, moments, moments + trained);
            else
                sgd(optimizer, param, u, moments);
        }
    }
    memset(network->param_grads, 0, (size_t)trained * sizeof(float));
    network->weights_version++;
}
