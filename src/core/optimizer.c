/* The optimizer: see optimizer.h. */
#include "core/optimizer.h"

#include "core/host.h"
#include "core/memory.h"

#include <math.h>
#include <string.h>

static dn_update_rule rule_of(bool adam, bool adamw)
{
    return adamw ? DN_RULE_ADAMW : adam ? DN_RULE_ADAM : DN_RULE_SGD;
}

static dn_optimizer options_of(const dn_network *network)
{
    const dn_net_options *net = &network->net;
    dn_optimizer optimizer = {
        .rule = rule_of(net->adam, net->adamw),
        .momentum = net->momentum,
        .decay = net->decay,
        .max_norm = net->max_grad_norm,
        .ema_alpha = net->ema_alpha,
        .beta1 = net->beta1,
        .beta2 = net->beta2,
        .epsilon = net->epsilon,
    };
    if (network->options.stage == DN_STAGE_MASK) {
        optimizer.rule = rule_of(net->mask_adam, net->mask_adamw);
        optimizer.momentum = net->mask_momentum;
        optimizer.decay = net->mask_decay;
        optimizer.max_norm = net->mask_max_grad_norm;
        optimizer.ema_alpha = net->mask_ema_alpha;
    }
    return optimizer;
}

/* The average's array, or NULL. */
static float *ema_of(const dn_optimizer *optimizer)
{
    if (!(optimizer->ema_alpha > 0.0f)) return NULL;
    return optimizer->values + optimizer->moment_count * optimizer->trained;
}

/* The parameters at the places of the optimizer's arrays: statistics are among them. */
static float *trained_params(const dn_network *network)
{
    return network->params + network->param_grad_start;
}

static dn_status make_blocks(dn_optimizer *optimizer, const dn_network *network)
{
    void *values, *scratch;
    DN_TRY(optimizer->backend->alloc((size_t)optimizer->floats * sizeof(float), &values));
    optimizer->values = values;
    DN_TRY(optimizer->backend->alloc(DN_SUM_SCRATCH, &scratch));
    optimizer->scratch = scratch;
    if (ema_of(optimizer))
        DN_TRY(optimizer->backend->copy(ema_of(optimizer), trained_params(network),
                                        (size_t)optimizer->trained * sizeof(float)));
    return optimizer->backend->synchronise();
}

dn_status dn_optimizer_create(const dn_network *network, dn_optimizer **out)
{
    DN_TRY(dn_network_enter(network));
    dn_optimizer *optimizer = dn_alloc(sizeof *optimizer);
    if (!optimizer) return DN_ERROR_MEMORY;
    *optimizer = options_of(network);
    optimizer->backend = network->backend;
    optimizer->trained = network->param_floats - network->param_grad_start;
    optimizer->moment_count = optimizer->rule == DN_RULE_SGD ? 1 : 2;
    const int32_t arrays = optimizer->moment_count + (optimizer->ema_alpha > 0.0f);
    optimizer->loss_scale = network->loss_scale;
    optimizer->scales_loss = network->loss_scale > 1.0f;
    optimizer->floats = arrays * optimizer->trained + DN_SCALE_FLOATS;
    const dn_status status = make_blocks(optimizer, network);
    if (status != DN_OK) {
        dn_optimizer_free(optimizer);
        return status;
    }
    *out = optimizer;
    return DN_OK;
}

void dn_optimizer_free(dn_optimizer *optimizer)
{
    if (!optimizer) return;
    optimizer->backend->free(optimizer->scratch);
    optimizer->backend->free(optimizer->values);
    dn_free(optimizer);
}

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

static dn_status update_ema(const dn_optimizer *optimizer, const dn_network *network)
{
    if (!ema_of(optimizer)) return DN_OK;
    const double t = (double)optimizer->steps;
    const dn_update update = {
        .kind = DN_UPDATE_AVERAGE,
        .rate = (float)(1 - fmin((double)optimizer->ema_alpha, (1 + t) / (10 + t))),
        .count = optimizer->trained,
        .values = trained_params(network),
        .first = ema_of(optimizer),
    };
    return optimizer->backend->update(&update, network->options.threads);
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

static void set_loss_scale(dn_optimizer *optimizer, dn_network *network, float scale)
{
    optimizer->loss_scale = network->loss_scale = scale;
    optimizer->scaled_steps = 0;
}

/* Gradients that half precision cannot hold: next time by half the scale. */
static dn_status leave_out(dn_optimizer *optimizer, dn_network *network)
{
    set_loss_scale(optimizer, network, 0.5f * optimizer->loss_scale);
    DN_TRY(zero_gradients(optimizer, network));
    return optimizer->backend->synchronise();
}

static void count_scaled_step(dn_optimizer *optimizer, dn_network *network)
{
    if (!optimizer->scales_loss || ++optimizer->scaled_steps < DN_SCALED_STEPS) return;
    const float doubled = 2.0f * optimizer->loss_scale, largest = DN_LARGEST_LOSS_SCALE;
    set_loss_scale(optimizer, network, doubled < largest ? doubled : largest);
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
    DN_TRY(update_ema(optimizer, network));
    return optimizer->backend->synchronise(); /* the next step may be another thread's */
}

double dn_optimizer_grad_norm(const dn_optimizer *optimizer)
{
    return optimizer->grad_norm;
}

int64_t dn_optimizer_get_steps(const dn_optimizer *optimizer)
{
    return optimizer->steps;
}

void dn_optimizer_set_steps(dn_optimizer *optimizer, int64_t steps)
{
    optimizer->steps = steps;
}

int32_t dn_optimizer_array_count(const dn_optimizer *optimizer)
{
    return optimizer->moment_count + (ema_of(optimizer) != NULL) + optimizer->scales_loss;
}

static float *scale_block(const dn_optimizer *optimizer)
{
    return optimizer->values + optimizer->floats - DN_SCALE_FLOATS;
}

/* As a checkpoint has it. */
static dn_status give_scale(const dn_optimizer *optimizer, dn_optimizer_array *out)
{
    const float held[DN_SCALE_FLOATS] = {optimizer->loss_scale, (float)optimizer->scaled_steps};
    *out = (dn_optimizer_array){"loss scale", DN_SCALE_FLOATS, scale_block(optimizer)};
    return optimizer->backend->copy_in(out->values, held, sizeof held);
}

dn_status dn_optimizer_take_scale(dn_optimizer *optimizer, dn_network *network)
{
    float held[DN_SCALE_FLOATS];
    if (!optimizer->scales_loss) return DN_OK;
    DN_TRY(optimizer->backend->copy_out(held, scale_block(optimizer), sizeof held));
    set_loss_scale(optimizer, network, held[0]);
    optimizer->scaled_steps = (int32_t)held[1];
    return DN_OK;
}

dn_status dn_optimizer_get_array(dn_optimizer *optimizer, int32_t index, dn_optimizer_array *out)
{
    const int32_t count = dn_optimizer_array_count(optimizer);
    if (index < 0 || index >= count)
        return dn_fail(DN_ERROR_ARGUMENT, "array %d: this optimizer has arrays 0..%d", index,
                       count - 1);
    if (optimizer->scales_loss && index == count - 1) return give_scale(optimizer, out);
    const char *const names[] = {optimizer->rule == DN_RULE_SGD ? "momentum" : "first moment",
                                 "second moment"};
    *out = (dn_optimizer_array){
        .name = index < optimizer->moment_count ? names[index] : "ema",
        .count = optimizer->trained,
        .values = optimizer->values + index * optimizer->trained,
    };
    return DN_OK;
}

dn_status dn_optimizer_swap_ema(dn_optimizer *optimizer, dn_network *network)
{
    if (!ema_of(optimizer))
        return dn_fail(DN_ERROR_ARGUMENT,
                       "%s: asks for no average of the parameters (ema_alpha or mask_ema_alpha)",
                       network->cfg->name);
    const dn_update update = {
        .kind = DN_UPDATE_EXCHANGE,
        .count = optimizer->trained,
        .values = trained_params(network),
        .first = ema_of(optimizer),
    };
    DN_TRY(dn_network_enter(network));
    DN_TRY(optimizer->backend->update(&update, network->options.threads));
    dn_network_touch(network);
    return optimizer->backend->synchronise();
}
