/* The optimizer: see optimizer.h. */
#include "core/optimizer.h"

#include "core/memory.h"

#include <math.h>
#include <string.h>

enum {
    DN_NORM_BLOCK = 1 << 14,  /* gradients summed by one thread */
    DN_SHARED_FROM = 1 << 15, /* shorter loops are not worth waking threads */
};

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

static int64_t block_count(int64_t floats)
{
    return (floats + DN_NORM_BLOCK - 1) / DN_NORM_BLOCK;
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

dn_status dn_optimizer_create(const dn_network *network, dn_optimizer **out)
{
    dn_optimizer *optimizer = dn_alloc(sizeof *optimizer);
    if (!optimizer) return DN_ERROR_MEMORY;
    *optimizer = options_of(network);
    optimizer->trained = network->param_floats - network->param_grad_start;
    optimizer->moment_count = optimizer->rule == DN_RULE_SGD ? 1 : 2;
    const int32_t arrays = optimizer->moment_count + (optimizer->ema_alpha > 0.0f);
    optimizer->floats = arrays * optimizer->trained;
    optimizer->values = dn_alloc((size_t)optimizer->floats * sizeof(float));
    optimizer->sums = dn_alloc((size_t)block_count(optimizer->trained) * sizeof(double));
    if (!optimizer->values || !optimizer->sums) {
        dn_optimizer_free(optimizer);
        return DN_ERROR_MEMORY;
    }
    if (ema_of(optimizer))
        memcpy(ema_of(optimizer), trained_params(network),
               (size_t)optimizer->trained * sizeof(float));
    *out = optimizer;
    return DN_OK;
}

void dn_optimizer_free(dn_optimizer *optimizer)
{
    if (!optimizer) return;
    dn_free(optimizer->sums);
    dn_free(optimizer->values);
    dn_free(optimizer);
}

typedef struct update {
    float rate, decay, scale; /* scale: of the summed gradient */
    int32_t threads;
} update;

static void sgd(const dn_optimizer *optimizer, const dn_param *param, update u, float *v)
{
    const float momentum = optimizer->momentum, *grad = param->grad;
    float *w = param->data;
#pragma omp parallel for simd num_threads(u.threads) if (param -> count >= DN_SHARED_FROM)
    for (int64_t i = 0; i < param->count; i++) {
        v[i] = momentum * v[i] + u.scale * grad[i] + u.decay * w[i];
        w[i] -= u.rate * v[i];
    }
}

static void adam(const dn_optimizer *optimizer, const dn_param *param, update u, float *first,
                 float *second)
{
    const double t = (double)optimizer->steps;
    const float beta1 = optimizer->beta1, beta2 = optimizer->beta2, epsilon = optimizer->epsilon;
    const float correct1 = (float)(1 / (1 - pow((double)beta1, t)));
    const float correct2 = (float)(1 / (1 - pow((double)beta2, t)));
    const bool decoupled = optimizer->rule == DN_RULE_ADAMW;
    const float in_moments = decoupled ? 0.0f : u.decay;
    const float kept = decoupled ? 1.0f - u.rate * u.decay : 1.0f;
    const float *grad = param->grad;
    float *w = param->data;
#pragma omp parallel for simd num_threads(u.threads) if (param -> count >= DN_SHARED_FROM)
    for (int64_t i = 0; i < param->count; i++) {
        const float g = u.scale * grad[i] + in_moments * w[i];
        first[i] = beta1 * first[i] + (1.0f - beta1) * g;
        second[i] = beta2 * second[i] + (1.0f - beta2) * g * g;
        w[i] = kept * w[i] - u.rate * correct1 * first[i] / (sqrtf(correct2 * second[i]) + epsilon);
    }
}

static bool is_updated(const dn_layer *layer, const dn_param *param)
{
    if (!param->grad || layer->common.dont_update) return false;
    return !layer->common.train_only_bn || strcmp(param->name, "weights") != 0;
}

/* What is not updated takes no part in the norm either. */
static void drop_unused_gradients(dn_network *network)
{
    for (int32_t i = network->train_from; i < network->layer_count; i++) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->param_count; k++) {
            const dn_param *param = &layer->params[k];
            if (param->grad && !is_updated(layer, param))
                memset(param->grad, 0, (size_t)param->count * sizeof *param->grad);
        }
    }
}

static double square_sum(const float *values, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)values[i] * (double)values[i];
    return sum;
}

/* Of the summed gradients: block sums, which any thread may make, added in their order. */
static double norm_of_gradients(const dn_optimizer *optimizer, const dn_network *network)
{
    const int64_t blocks = block_count(optimizer->trained);
#pragma omp parallel for num_threads(network->options.threads)
    for (int64_t k = 0; k < blocks; k++) {
        const int64_t start = k * DN_NORM_BLOCK, rest = optimizer->trained - start;
        optimizer->sums[k] = square_sum(network->param_grads + start,
                                        rest < DN_NORM_BLOCK ? rest : (int64_t)DN_NORM_BLOCK);
    }
    double sum = 0;
    for (int64_t k = 0; k < blocks; k++) sum += optimizer->sums[k];
    return sqrt(sum);
}

/* Gradients run backwards: the last layer that has one is where it began. */
static dn_status not_a_number(const dn_network *network)
{
    for (int32_t i = network->layer_count - 1; i >= network->train_from; i--) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->param_count; k++) {
            const dn_param *param = &layer->params[k];
            if (!param->grad || isfinite(square_sum(param->grad, param->count))) continue;
            return dn_fail(DN_ERROR_DATA, "a gradient of layer %d [%s] (%s) is not a number", i,
                           layer->type->name, param->name);
        }
    }
    return dn_fail(DN_ERROR_DATA, "a gradient is not a number");
}

static void update_ema(const dn_optimizer *optimizer, const dn_network *network)
{
    float *average = ema_of(optimizer);
    if (!average) return;
    const double t = (double)optimizer->steps;
    const float pull = (float)(1 - fmin((double)optimizer->ema_alpha, (1 + t) / (10 + t)));
    const float *params = trained_params(network);
#pragma omp parallel for simd num_threads(network->options.threads)
    for (int64_t i = 0; i < optimizer->trained; i++) average[i] += pull * (params[i] - average[i]);
}

dn_status dn_optimizer_step(dn_optimizer *optimizer, dn_network *network, float rate, int32_t batch)
{
    drop_unused_gradients(network);
    const double norm = norm_of_gradients(optimizer, network) / batch;
    if (!isfinite(norm)) return not_a_number(network);
    const double limit = optimizer->max_norm > 0.0f ? (double)optimizer->max_norm : HUGE_VAL;
    const float scale = (float)(fmin(1, limit / (norm + 1e-6)) / batch);
    optimizer->grad_norm = norm;
    optimizer->steps++;
    for (int32_t i = network->train_from; i < network->layer_count; i++) {
        const dn_layer *layer = &network->layers[i];
        for (int32_t k = 0; k < layer->param_count; k++) {
            const dn_param *param = &layer->params[k];
            if (!is_updated(layer, param)) continue;
            const update u = {rate * layer->common.learning_rate,
                              param->flags & DN_PARAM_DECAY ? optimizer->decay : 0.0f, scale,
                              network->options.threads};
            float *moments = optimizer->values + (param->grad - network->param_grads);
            if (optimizer->rule == DN_RULE_SGD)
                sgd(optimizer, param, u, moments);
            else
                adam(optimizer, param, u, moments, moments + optimizer->trained);
        }
    }
    memset(network->param_grads, 0, (size_t)optimizer->trained * sizeof(float));
    network->weights_version++;
    update_ema(optimizer, network);
    return DN_OK;
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
    return optimizer->moment_count + (ema_of(optimizer) != NULL);
}

dn_status dn_optimizer_get_array(dn_optimizer *optimizer, int32_t index, dn_optimizer_array *out)
{
    const int32_t count = dn_optimizer_array_count(optimizer);
    if (index < 0 || index >= count)
        return dn_fail(DN_ERROR_ARGUMENT, "array %d: this optimizer has arrays 0..%d", index,
                       count - 1);
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
    float *average = ema_of(optimizer), *params = trained_params(network);
    if (!average)
        return dn_fail(DN_ERROR_ARGUMENT,
                       "%s: asks for no average of the parameters (ema_alpha or mask_ema_alpha)",
                       network->cfg->name);
    for (int64_t i = 0; i < optimizer->trained; i++) {
        const float held = params[i];
        params[i] = average[i];
        average[i] = held;
    }
    dn_network_touch(network);
    return DN_OK;
}
