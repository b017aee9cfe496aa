/* What an optimizer holds: see optimizer.h. */
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

void dn_optimizer_scale_loss(dn_optimizer *optimizer, dn_network *network, float scale)
{
    optimizer->loss_scale = network->loss_scale = scale;
    optimizer->scaled_steps = 0;
}

dn_status dn_optimizer_take_scale(dn_optimizer *optimizer, dn_network *network)
{
    float held[DN_SCALE_FLOATS];
    if (!optimizer->scales_loss) return DN_OK;
    DN_TRY(optimizer->backend->copy_out(held, scale_block(optimizer), sizeof held));
    dn_optimizer_scale_loss(optimizer, network, held[0]);
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

dn_status dn_optimizer_average(const dn_optimizer *optimizer, const dn_network *network)
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
