/* The [net] section: input size, batch, schedule, augmentation, mask stage. */
#ifndef DN_CORE_NET_OPTIONS_H
#define DN_CORE_NET_OPTIONS_H

#include "core/option.h"

typedef enum dn_policy {
    DN_POLICY_CONSTANT,
    DN_POLICY_STEP,
    DN_POLICY_STEPS,
    DN_POLICY_EXP,
    DN_POLICY_POLY,
    DN_POLICY_RANDOM,
    DN_POLICY_SIGMOID,
    DN_POLICY_SGDR,
    DN_POLICY_COSINE,
} dn_policy;

typedef struct dn_net_options {
    int32_t batch, subdivisions, width, height, channels, inputs, time_steps;
    float learning_rate, momentum, decay;
    bool adam, adamw;
    float beta1, beta2, epsilon, max_grad_norm, ema_alpha;
    int32_t policy;
    int32_t burn_in, max_batches, step;
    float power, scale, gamma;
    dn_ints steps;
    dn_floats scales;
    float learning_rate_min, sgdr_mult;
    int32_t sgdr_cycle;
    float angle, aspect, saturation, exposure, hue, label_smooth_eps;
    bool flip, letter_box;
    bool mosaic, mosaic_bound;
    int32_t mixup;
    float copy_paste;
    dn_floats scale_jitter;
    int32_t max_crop, min_crop;
    float resize_step;
    int32_t patience;
    const char *data;
    int32_t mask_from;
    float mask_learning_rate;
    int32_t mask_policy, mask_step, mask_sgdr_cycle;
    dn_ints mask_steps;
    dn_floats mask_scales;
    float mask_power, mask_scale, mask_gamma, mask_learning_rate_min, mask_sgdr_mult;
    int32_t mask_burn_in, mask_max_batches, mask_warmup, mask_batch, mask_subdivisions;
    bool mask_random, mask_adam, mask_adamw;
    float mask_decay, mask_momentum, mask_max_grad_norm, mask_ema_alpha, mask_jitter;
    bool mask_mosaic;
    float mask_copy_paste;
    dn_floats mask_scale_jitter;
} dn_net_options;

extern const dn_option dn_net_option_table[];

/* Images of one update and the parts they are computed in, of the mask stage or of all others. */
void dn_net_batch(const dn_net_options *net, bool mask_stage, int32_t *batch,
                  int32_t *subdivisions);

#endif
