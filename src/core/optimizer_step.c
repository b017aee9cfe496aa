/* A step of the optimizer: see optimizer.h. */
#include "core/optimizer.h"

#include "core/host.h"

#include <math.h>
#include <string.h>

dn_status dn_optimizer_sees_numbers(const dn_optimizer *optimizer, const float *values,
                                    int64_t count, int32_t threads, bool *numbers)
{
    double sum;
    DN_TRY(optimizer->backend->square_sum(values, count, threads, optimizer->scratch, &sum));
    *numbers = isfinite(sum) != 0;
    return DN_OK;
}

/* What a step does to every parameter, but for its layer's rate and whether it decays. */
static dn_update update_of(const dn_optimizer *optimizer, float scale)
{
    const double t = (double)optimizer->steps;
    return (dn_update){
        .kind = optimizer->rule == DN_RULE_SGD ? DN_UPDATE_SGD : DN_UPDATE_ADAM,
        .scale = scale,
        .momentum = optimizer->momentum,
        .beta1 = optimizer->beta1,
        .beta2 = optimizer->beta2,
        .epsilon = optimizer->epsilon,
        .correct1 = (float)(1 / (1 - pow((double)optimizer->beta1, t))),
        .correct2 = (float)(1 / (1 - pow((double)optimizer->beta2, t))),
    };
}

static dn_status update_param(const dn_optimizer *optimizer, const dn_network *network,
                              const dn_param *param, float rate, dn_update update)
{
    const float decay = param->flags & DN_PARAM_DECAY ? optimizer->decay : 0.0f;
    const bool decoupled = optimizer->rule == DN_RULE_ADAMW;
    update.rate = rate;
    update.decay = decoupled ? 0.0f : decay;
    update.kept = decoupled ? 1.0f - rate * decay : 1.0f;
    update.count = param->count;
    update.values = param->data;
    update.grads = param->grad;
    update.first = optimizer->values + (param->grad - network->param_grads);
    update.second = optimizer->moment_count > 1 ? update.first + optimizer->trained : NULL;
    return optimizer->backend->update(&update, network->options.threads);
}

static bool is_updated(const dn_layer *layer, const dn_param *param)
{
    if (!param->grad || layer->common.dont_update) return false;
    return !layer->common.train_only_bn || strcmp(param->name, "weights") != 0;
}

/* What is not updated takes no part in the norm either. */
static dn_status drop_unused_gradients(const dn_network *network)
{
    for (int32_t i = network->train_from; i < network->layer_count; i++) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->param_count; k++) {
            const dn_param *param = &layer->params[k];
            if (param->grad && !is_updated(layer, param))
                DN_TRY(network->backend->zero(param->grad,
                                              (size_t)param->count * sizeof *param->grad));
        }
    }
    return DN_OK;
}

/* Gradients run backwards: the last layer that has one is where it began. */
static dn_status not_a_number(const dn_optimizer *optimizer, const dn_network *network)
{
    for (int32_t i = network->layer_count - 1; i >= network->train_from; i--) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->param_count; k++) {
            const dn_param *param = &layer->params[k];
            bool numbers = true;
            if (param->grad)
                DN_TRY(dn_optimizer_sees_numbers(optimizer, param->grad, param->count,
                                                 network->options.threads, &numbers));
            if (numbers) continue;
            return dn_fail(DN_ERROR_DATA, "a gradient of layer %d [%s] (%s) is not a number", i,
                           layer->type->name, param->name);
        }
    }
    return dn_fail(DN_ERROR_DATA, "a gradient is not a number");
}

/* Of the summed gradients. */
static dn_status norm_of_gradients(const dn_optimizer *optimizer, const dn_network *network,
                                   double *norm)
{
    double sum;
    DN_TRY(drop_unused_gradients(network));
    DN_TRY(optimizer->backend->square_sum(network->param_grads, optimizer->trained,
                                          network->options.threads, optimizer->scratch, &sum));
    *norm = sqrt(sum);
    return DN_OK;
}

static dn_status update_params(const dn_optimizer *optimizer, const dn_network *network, float rate,
                               float scale)
{
    const dn_update update = update_of(optimizer, scale);
    for (int32_t i = network->train_from; i < network->layer_count; i++) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->param_count; k++)
            if (is_updated(layer, &layer->params[k]))
                DN_TRY(update_param(optimizer, network, &layer->params[k],
                                    rate * layer->common.learning_rate, update));
    }
    return DN_OK;
}

static dn_status zero_gradients(const dn_optimizer *optimizer, const dn_network *network)
{
    return optimizer->backend->zero(network->param_grads,
                                    (size_t)optimizer->trained * sizeof *network->param_grads);
}

/* Gradients that half precision cannot hold: next time by half the scale. */
static dn_status leave_out(dn_optimizer *optimizer, dn_network *network)
{
    dn_optimizer_scale_loss(optimizer, network, 0.5f * optimizer->loss_scale);
    DN_TRY(zero_gradients(optimizer, network));
    return optimizer->backend->synchronise();
}

static void count_scaled_step(dn_optimizer *optimizer, dn_network *network)
{
    if (!optimizer->scales_loss || ++optimizer->scaled_steps < DN_SCALED_STEPS) return;
    const float doubled = 2.0f * optimizer->loss_scale, largest = DN_LARGEST_LOSS_SCALE;
    dn_optimizer_scale_loss(optimizer, network, doubled < largest ? doubled : largest);
}

dn_status dn_optimizer_step(dn_optimizer *optimizer, dn_network *network, float rate, int32_t batch)
{
    const double parts = (double)batch * (double)optimizer->loss_scale;
    double norm;
    DN_TRY(dn_network_enter(network));
    DN_TRY(norm_of_gradients(optimizer, network, &norm));
    norm /= parts;
    if (!isfinite(norm))
        return optimizer->loss_scale > 1.0f ? leave_out(optimizer, network)
                                            : not_a_number(optimizer, network);
    const double limit = optimizer->max_norm > 0.0f ? (double)optimizer->max_norm : HUGE_VAL;
    const float scale = (float)(fmin(1, limit / (norm + 1e-6)) / parts);
    optimizer->grad_norm = norm;
    optimizer->steps++;
    DN_TRY(update_params(optimizer, network, rate, scale));
    DN_TRY(zero_gradients(optimizer, network));
    count_scaled_step(optimizer, network);
    network->weights_version++;
    DN_TRY(dn_optimizer_average(optimizer, network));
    return optimizer->backend->synchronise(); /* the next step may be another thread's */
}
