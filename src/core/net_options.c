/* The [net] section's option table. Defaults and meanings: docs/cfg-reference.md (made from here).
 */
#include "core/net_options.h"

static const char *const policies[] = {"constant", "step",    "steps", "exp",    "poly",
                                       "random",   "sigmoid", "sgdr",  "cosine", NULL};

#define S dn_net_options
enum { DN_HUGE = 2000000000 };

const dn_option dn_net_option_table[] = {
    DN_INT(S, batch, "batch", 1, 1, 65536, "images of one weight update"),
    DN_INT(S, subdivisions, "subdivisions", 1, 1, 65536, "parts the batch is computed in"),
    DN_INT(S, width, "width", 0, 0, 65536, "input width in pixels"),
    DN_INT(S, height, "height", 0, 0, 65536, "input height in pixels"),
    DN_INT(S, channels, "channels", 0, 0, 65536, "input channels"),
    DN_INT(S, inputs, "inputs", 0, 0, DN_HUGE, "input values where there are no images"),
    DN_INT(S, time_steps, "time_steps", 1, 1, 1, "only 1: recurrent layers are not supported"),
    DN_FLOAT(S, learning_rate, "learning_rate", .001, 0, 1e6, "rate of the schedule"),
    DN_FLOAT(S, momentum, "momentum", .9, 0, 1, "momentum of SGD"),
    DN_FLOAT(S, decay, "decay", .0001, 0, 1, "L2 weight decay, not of biases and scales"),
    DN_FLAG(S, adam, "adam", 0, "Adam instead of SGD"),
    DN_FLOAT(S, beta1, "B1", .9, 0, 1, "Adam's first moment"),
    DN_FLOAT(S, beta2, "B2", .999, 0, 1, "Adam's second moment"),
    DN_FLOAT(S, epsilon, "eps", 1e-7, 0, 1, "Adam's denominator"),
    DN_CHOICE(S, policy, "policy", DN_POLICY_CONSTANT, policies, "how the rate changes"),
    DN_INT(S, burn_in, "burn_in", 0, 0, DN_HUGE, "iterations of warm-up"),
    DN_INT(S, max_batches, "max_batches", 0, 0, DN_HUGE, "iterations of the training"),
    DN_INT(S, step, "step", 1, 1, DN_HUGE, "policy step: iterations a step"),
    DN_FLOAT(S, power, "power", 4, 0, 100, "of burn_in, poly and random"),
    DN_FLOAT(S, scale, "scale", 1, 0, 1e6, "policy step: factor a step"),
    DN_FLOAT(S, gamma, "gamma", 1, -1e6, 1e6, "of exp and sigmoid"),
    DN_INTS(S, steps, "steps", 0, DN_HUGE, "policy steps: iterations"),
    DN_FLOATS(S, scales, "scales", 0, 1e6, "policy steps: factors"),
    DN_FLOAT(S, learning_rate_min, "learning_rate_min", .00001, 0, 1e6, "floor of sgdr, cosine"),
    DN_FLOAT(S, sgdr_mult, "sgdr_mult", 2, 1, 1000, "sgdr: each cycle is that much longer"),
    DN_INT(S, sgdr_cycle, "sgdr_cycle", 0, 0, DN_HUGE, "sgdr: first cycle; 0: max_batches"),
    DN_FLOAT(S, angle, "angle", 0, 0, 360, "classifier: rotation in degrees"),
    DN_FLOAT(S, aspect, "aspect", 1, .01, 100, "classifier: aspect ratio range"),
    DN_FLOAT(S, saturation, "saturation", 1, 0, 100, "colour: saturation range"),
    DN_FLOAT(S, exposure, "exposure", 1, 0, 100, "colour: exposure range"),
    DN_FLOAT(S, hue, "hue", 0, 0, 1, "colour: hue range, share of the circle"),
    DN_FLAG(S, flip, "flip", 1, "mirror half of the images"),
    DN_FLAG(S, letter_box, "letter_box", 1,
            "0: images are stretched to the input, not letterboxed"),
    DN_INT(S, max_crop, "max_crop", 0, 0, 65536, "classifier: largest short side"),
    DN_INT(S, min_crop, "min_crop", 0, 0, 65536, "classifier: smallest short side"),
    DN_FLOAT(S, resize_step, "resize_step", 32, 1, 1024, "random=1: sizes are multiples of it"),
    DN_TEXT(S, data, "data", ".data file used when the command line names none"),
    DN_INT(S, mask_from, "mask_from", 0, -1, DN_HUGE,
           "iteration at which the detector freezes and the mask stage starts; 0: masks only; -1: "
           "joint"),
    DN_FLOAT(S, mask_learning_rate, "mask_learning_rate", .001, 0, 1e6, "mask stage: rate"),
    DN_CHOICE(S, mask_policy, "mask_policy", DN_POLICY_STEPS, policies, "mask stage: policy"),
    DN_INTS(S, mask_steps, "mask_steps", 0, DN_HUGE, "mask stage: iterations of the steps"),
    DN_FLOATS(S, mask_scales, "mask_scales", 0, 1e6, "mask stage: factors of the steps"),
    DN_INT(S, mask_burn_in, "mask_burn_in", 0, 0, DN_HUGE, "mask stage: warm-up"),
    DN_INT(S, mask_max_batches, "mask_max_batches", 0, 0, DN_HUGE, "mask stage: iterations"),
    DN_INT(S, mask_warmup, "mask_warmup", 1000, 0, DN_HUGE, "joint: mask_scale's ramp"),
    DN_INT(S, mask_batch, "mask_batch", 0, 0, 65536, "mask stage: batch; 0: batch"),
    DN_INT(S, mask_subdivisions, "mask_subdivisions", 0, 0, 65536,
           "mask stage: subdivisions; 0: subdivisions"),
    DN_FLAG(S, mask_random, "mask_random", 0, "mask stage: multi-scale"),
    DN_FLAG(S, mask_adam, "mask_adam", 0, "mask stage: Adam instead of SGD"),
    DN_FLOAT(S, mask_decay, "mask_decay", .0001, 0, 1, "mask stage: weight decay"),
    DN_FLOAT(S, mask_momentum, "mask_momentum", .9, 0, 1, "mask stage: momentum of SGD"),
    DN_FLOAT(S, mask_jitter, "mask_jitter", .3, 0, 1, "mask stage: random scale and shift"),
    DN_IGNORED("notruth", "accepted; no effect"),
    DN_IGNORED("random", "accepted; the heads' `random` counts"),
    DN_IGNORED("max_ratio", "accepted; no effect"),
    DN_IGNORED("min_ratio", "accepted; no effect"),
    DN_IGNORED("center", "accepted; no effect"),
    DN_IGNORED("clip", "accepted; no effect"),
    DN_IGNORED("max_chart_loss", "accepted; no effect"),
    DN_IGNORED("mosaic", "accepted; not used in training yet"),
    DN_IGNORED("mosaic_bound", "accepted; not used in training yet"),
    DN_IGNORED("cutmix", "accepted; not used in training yet"),
    DN_IGNORED("mixup", "accepted; not used in training yet"),
    DN_IGNORED("blur", "accepted; no effect"),
    DN_IGNORED("gaussian_noise", "accepted; no effect"),
    DN_IGNORED("ema_alpha", "accepted; not used in training yet"),
    DN_IGNORED("loss_scale", "accepted; no effect"),
    DN_IGNORED("dynamic_minibatch", "accepted; no effect"),
    DN_IGNORED("optimized_memory", "accepted; no effect"),
    DN_IGNORED("workspace_size_limit_MB", "accepted; no effect"),
    DN_IGNORED("use_cuda_graph", "accepted; no effect"),
    DN_OPTIONS_END,
};

void dn_net_batch(const dn_net_options *net, bool mask_stage, int32_t *batch, int32_t *subdivisions)
{
    *batch = mask_stage && net->mask_batch > 0 ? net->mask_batch : net->batch;
    *subdivisions =
        mask_stage && net->mask_subdivisions > 0 ? net->mask_subdivisions : net->subdivisions;
}
