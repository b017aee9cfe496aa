/* Small tools on cfg and weights files: partial, tail, ops, average, statistics, reset, rgbgr,
 * denormalize, layers, version. `speed` has a file of its own. */
#include "cli/commands.h"
#include "cli/open_network.h"

#include "core/option.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tools look at parameters and run nothing: on the CPU, whatever GPU is named. */
static dn_common_arguments take_common(dn_arguments *arguments)
{
    dn_common_arguments common = dn_take_common(arguments);
    common.quiet = true;
    snprintf(common.device, sizeof common.device, "cpu");
    return common;
}

/* Opens the network that a tool works on; weights are needed where `wants_weights`. */
static dn_network *open_quietly(dn_arguments *arguments, bool wants_weights)
{
    const dn_common_arguments common = take_common(arguments);
    dn_take_files(arguments);
    if (wants_weights && !arguments->weights) dn_die("a weights file is missing");
    return dn_open_network(arguments, &common, 0);
}

/* `out` ends in .weights like the input, so operands are counted after both were taken. */
static const char *take_out(dn_arguments *arguments)
{
    return dn_take_operand(arguments, "the name of the file to write");
}

static int32_t take_layer(dn_arguments *arguments)
{
    const char *text = dn_take_operand(arguments, "the layer number N");
    int64_t value;
    if (!dn_parse_int(text, &value) || value < 0 || value > 1 << 20)
        dn_die("%s: a layer number is wanted", text);
    return (int32_t)value;
}

static int save(dn_network *network, const char *out, int32_t first, int32_t last)
{
    dn_must(dn_network_save_weights(network, out, first, last));
    printf("Saving weights to %s\n", out);
    dn_network_free(network);
    return 0;
}

int dn_command_partial(dn_arguments *arguments)
{
    dn_network *network = open_quietly(arguments, true);
    const char *out = take_out(arguments);
    dn_network_set_seen(network, 0);
    return save(network, out, 0, take_layer(arguments));
}

int dn_command_tail(dn_arguments *arguments)
{
    dn_network *network = open_quietly(arguments, true);
    const char *out = take_out(arguments);
    return save(network, out, take_layer(arguments), -1);
}

int dn_command_reset(dn_arguments *arguments)
{
    dn_network *network = open_quietly(arguments, true);
    dn_network_set_seen(network, 0);
    return save(network, take_out(arguments), 0, -1);
}

int dn_command_ops(dn_arguments *arguments)
{
    dn_network *network = open_quietly(arguments, false);
    dn_network_info info;
    dn_must(dn_network_get_info(network, &info));
    printf("Floating Point Operations: %lld\n", (long long)info.flops);
    printf("Floating Point Operations: %.2f Bn\n", (double)info.flops / 1e9);
    dn_network_free(network);
    return 0;
}

int dn_command_layers(dn_arguments *arguments)
{
    dn_network *network = open_quietly(arguments, false);
    dn_print_layers(network);
    dn_network_free(network);
    return 0;
}

int dn_command_version(dn_arguments *arguments)
{
    (void)arguments;
    printf("YOLO-Mask darknet, ABI version %d\n", dn_abi_version());
    return 0;
}

/* Calls visit for every parameter array of the network. */
static void each_param(dn_network *network, void *context,
                       void (*visit)(void *context, int32_t layer, const char *type,
                                     dn_param_info *param))
{
    dn_network_info info;
    dn_must(dn_network_get_info(network, &info));
    for (int32_t i = 0; i < info.layer_count; i++) {
        dn_layer_info layer;
        dn_must(dn_network_get_layer(network, i, &layer));
        for (int32_t k = 0; k < layer.param_count; k++) {
            dn_param_info param;
            dn_must(dn_network_get_param(network, i, k, &param));
            visit(context, i, layer.type, &param);
        }
    }
    dn_network_touch(network);
}

static void print_statistics(void *context, int32_t layer, const char *type, dn_param_info *param)
{
    (void)context;
    double sum = 0, squares = 0, low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < param->count; i++) {
        const double value = (double)param->data[i];
        sum += value;
        squares += value * value;
        low = fmin(low, value);
        high = fmax(high, value);
    }
    const double mean = sum / (double)param->count;
    const double variance = squares / (double)param->count - mean * mean;
    printf("%5d %-14s %-9s %9lld  min %10.6f  mean %10.6f  max %10.6f  std %10.6f\n", layer, type,
           param->name, (long long)param->count, low, mean, high, sqrt(fmax(variance, 0)));
}

int dn_command_statistics(dn_arguments *arguments)
{
    dn_network *network = open_quietly(arguments, true);
    each_param(network, NULL, print_statistics);
    dn_network_free(network);
    return 0;
}

/* Adds one network's parameters to another's, weighted; both come from one cfg. */
typedef struct dn_blend {
    dn_network *from;
    int32_t layer, index; /* of the next array in `from` */
    float old_share, new_share;
} dn_blend;

static void blend(void *context, int32_t layer, const char *type, dn_param_info *param)
{
    dn_blend *state = context;
    (void)type;
    if (layer != state->layer) state->index = 0;
    state->layer = layer;
    dn_param_info other;
    dn_must(dn_network_get_param(state->from, layer, state->index++, &other));
    for (int64_t i = 0; i < param->count; i++)
        param->data[i] = state->old_share * param->data[i] + state->new_share * other.data[i];
}

int dn_command_average(dn_arguments *arguments)
{
    const dn_common_arguments common = take_common(arguments);
    /* By place, whatever their names: the second one is overwritten. */
    arguments->cfg = dn_take_operand(arguments, "a cfg file");
    const char *out = dn_take_operand(arguments, "the name of the file to write");
    arguments->weights = dn_take_operand(arguments, "a weights file to average");
    dn_network *mean = dn_open_network(arguments, &common, 0);
    for (int32_t files = 2; arguments->count > 0; files++) {
        arguments->weights = dn_take_operand(arguments, "a weights file");
        const float share = 1.0f / (float)files;
        dn_blend state = {dn_open_network(arguments, &common, 0), -1, 0, 1.0f - share, share};
        each_param(mean, &state, blend);
        dn_network_free(state.from);
    }
    return save(mean, out, 0, -1);
}

int dn_command_rgbgr(dn_arguments *arguments)
{
    dn_network *network = open_quietly(arguments, true);
    dn_network_info info;
    dn_layer_info layer;
    dn_param_info weights;
    dn_must(dn_network_get_info(network, &info));
    dn_must(dn_network_get_layer(network, 0, &layer));
    if (strcmp(layer.type, "convolutional") != 0 || info.channels != 3)
        dn_die("the first layer is [%s] of %d channels: a convolution of 3 is wanted", layer.type,
               info.channels);
    dn_must(dn_network_get_param(network, 0, layer.param_count - 1, &weights));
    const int64_t taps = weights.count / layer.c / 3;
    for (int64_t filter = 0; filter < layer.c; filter++)
        for (int64_t i = 0; i < taps; i++) {
            float *red = weights.data + filter * 3 * taps + i, *blue = red + 2 * taps;
            const float kept = *red;
            *red = *blue;
            *blue = kept;
        }
    dn_network_touch(network);
    return save(network, take_out(arguments), 0, -1);
}

static dn_param_info param_named(dn_network *network, int32_t layer, int32_t count,
                                 const char *name)
{
    dn_param_info param = {0};
    for (int32_t k = 0; k < count; k++) {
        dn_must(dn_network_get_param(network, layer, k, &param));
        if (strcmp(param.name, name) == 0) return param;
    }
    return (dn_param_info){0};
}

/* y = s (W x - m) / sqrt(v + e) + b becomes the same with s = 1, m = 0, v = 1 - e. */
static void fold_layer(dn_network *network, int32_t index, int32_t params)
{
    dn_param_info bias = param_named(network, index, params, "biases");
    dn_param_info scale = param_named(network, index, params, "scales");
    dn_param_info mean = param_named(network, index, params, "mean");
    dn_param_info variance = param_named(network, index, params, "variance");
    dn_param_info weights = param_named(network, index, params, "weights");
    if (!scale.data || !weights.data) return;
    const int64_t row = weights.count / scale.count;
    for (int64_t i = 0; i < scale.count; i++) {
        const float factor = scale.data[i] / sqrtf(variance.data[i] + 1e-5f);
        for (int64_t j = 0; j < row; j++) weights.data[i * row + j] *= factor;
        bias.data[i] -= factor * mean.data[i];
        scale.data[i] = 1;
        mean.data[i] = 0;
        variance.data[i] = 1 - 1e-5f;
    }
}

int dn_command_denormalize(dn_arguments *arguments)
{
    dn_network *network = open_quietly(arguments, true);
    dn_network_info info;
    dn_must(dn_network_get_info(network, &info));
    for (int32_t i = 0; i < info.layer_count; i++) {
        dn_layer_info layer;
        dn_must(dn_network_get_layer(network, i, &layer));
        const bool by_output =
            strcmp(layer.type, "convolutional") == 0 || strcmp(layer.type, "connected") == 0;
        if (by_output) fold_layer(network, i, layer.param_count);
    }
    dn_network_touch(network);
    return save(network, take_out(arguments), 0, -1);
}
