/* The learning rate of an iteration: see schedule.h. Formulas: docs/numerics.md. */
#include "core/schedule.h"

#include "core/network.h"

#include <math.h>

static dn_schedule main_schedule(const dn_net_options *net)
{
    return (dn_schedule){
        .policy = (dn_policy)net->policy,
        .learning_rate = net->learning_rate,
        .learning_rate_min = net->learning_rate_min,
        .power = net->power,
        .scale = net->scale,
        .gamma = net->gamma,
        .sgdr_mult = net->sgdr_mult,
        .burn_in = net->burn_in,
        .max_batches = net->max_batches,
        .step = net->step,
        .sgdr_cycle = net->sgdr_cycle,
        .steps = net->steps,
        .scales = net->scales,
    };
}

/* Keys that the cfg leaves at their defaults are those without mask_. */
static dn_schedule schedule_of_mask_stage(const dn_net_options *net)
{
    dn_schedule schedule = main_schedule(net);
    schedule.policy = (dn_policy)net->mask_policy;
    schedule.learning_rate = net->mask_learning_rate;
    schedule.burn_in = net->mask_burn_in;
    schedule.max_batches = net->mask_max_batches;
    schedule.steps = net->mask_steps;
    schedule.scales = net->mask_scales;
    schedule.sgdr_cycle = net->mask_sgdr_cycle;
    if (net->mask_step > 0) schedule.step = net->mask_step;
    if (net->mask_power > 0.0f) schedule.power = net->mask_power;
    if (net->mask_scale > 0.0f) schedule.scale = net->mask_scale;
    if (net->mask_gamma != 0.0f) schedule.gamma = net->mask_gamma;
    if (net->mask_sgdr_mult > 0.0f) schedule.sgdr_mult = net->mask_sgdr_mult;
    if (net->mask_learning_rate_min >= 0.0f)
        schedule.learning_rate_min = net->mask_learning_rate_min;
    return schedule;
}

dn_status dn_schedule_make(const dn_net_options *net, bool mask_stage, uint64_t seed,
                           dn_schedule *out)
{
    dn_schedule schedule = mask_stage ? schedule_of_mask_stage(net) : main_schedule(net);
    schedule.seed = seed;
    const char *prefix = mask_stage ? "mask_" : "";
    if (schedule.policy == DN_POLICY_STEPS && schedule.steps.count != schedule.scales.count)
        return dn_fail(DN_ERROR_CONFIG,
                       "[net] %ssteps has %d values, %sscales has %d: as many are "
                       "wanted",
                       prefix, schedule.steps.count, prefix, schedule.scales.count);
    if (schedule.max_batches < 1)
        return dn_fail(DN_ERROR_CONFIG,
                       "[net] %smax_batches is missing: how many iterations are "
                       "to be trained?",
                       prefix);
    *out = schedule;
    return DN_OK;
}

/* lr_min + (lr - lr_min) (1 + cos(pi * share of the cycle)) / 2; each cycle is longer by mult. */
static double sgdr(const dn_schedule *s, double t)
{
    double cycle = s->sgdr_cycle > 0 ? s->sgdr_cycle : s->max_batches, start = 0;
    while (t >= start + cycle && (double)s->sgdr_mult * cycle >= 1) {
        start += cycle;
        cycle *= (double)s->sgdr_mult;
    }
    return (double)s->learning_rate_min + .5 * (double)(s->learning_rate - s->learning_rate_min) *
                                              (1 + cos(3.14159265358979 * (t - start) / cycle));
}

static double cosine(const dn_schedule *s, double t)
{
    const double span = s->max_batches > s->burn_in ? s->max_batches - s->burn_in : 1;
    const double share = fmin((t - s->burn_in) / span, 1);
    return (double)s->learning_rate_min + .5 * (double)(s->learning_rate - s->learning_rate_min) *
                                              (1 + cos(3.14159265358979 * share));
}

float dn_schedule_rate(const dn_schedule *s, int64_t iteration)
{
    const double t = (double)iteration, rate = (double)s->learning_rate;
    if (iteration < s->burn_in) return (float)(rate * pow(t / s->burn_in, (double)s->power));
    switch (s->policy) {
    case DN_POLICY_CONSTANT:
        return s->learning_rate;
    case DN_POLICY_STEP:
        return (float)(rate * pow((double)s->scale, (double)(iteration / s->step)));
    case DN_POLICY_STEPS: {
        double product = rate;
        for (int32_t i = 0; i < s->steps.count && s->steps.items[i] <= iteration; i++)
            product *= (double)s->scales.items[i];
        return (float)product;
    }
    case DN_POLICY_EXP:
        return (float)(rate * pow((double)s->gamma, t));
    case DN_POLICY_POLY:
        return (float)(rate * pow(fmax(1 - t / s->max_batches, 0), (double)s->power));
    case DN_POLICY_RANDOM: {
        dn_rng rng = dn_rng_make(s->seed, (uint64_t)iteration, 0, DN_RNG_RATE);
        return (float)(rate * pow((double)dn_rng_uniform(&rng, 0, 1), (double)s->power));
    }
    case DN_POLICY_SIGMOID:
        return (float)(rate / (1 + exp((double)s->gamma * (t - s->step))));
    case DN_POLICY_SGDR:
        return (float)sgdr(s, t);
    case DN_POLICY_COSINE:
        return (float)cosine(s, t);
    }
    return s->learning_rate;
}

dn_status dn_network_rate(const dn_network *network, dn_stage stage, int64_t iteration, float *rate)
{
    dn_schedule schedule;
    DN_TRY(
        dn_schedule_make(&network->net, stage == DN_STAGE_MASK, network->options.seed, &schedule));
    *rate = dn_schedule_rate(&schedule, iteration);
    return DN_OK;
}
