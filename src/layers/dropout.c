/* [dropout]: in training a share `probability` of the values becomes 0 and the others grow by
 * 1 / (1 - probability); in inference a copy. The mask is a function of seed, iteration, layer and
 * element (math/dropout.h), so nothing is saved. Darknet's DropBlock keys are refused. */
#include "layers/dropout.h"

#include "core/network.h"

#include <stdio.h>
#include <string.h>

typedef struct dn_dropout_options {
    float probability;
    bool dropblock;
} dn_dropout_options;

#define S dn_dropout_options
static const dn_option options[] = {
    DN_FLOAT(S, probability, "probability", .5, 0, .9999, "share of the values that become 0"),
    DN_FLAG(S, dropblock, "dropblock", 0, "accepted only as 0"),
    DN_OPTIONS_END,
};
#undef S

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_dropout_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    if (o->dropblock) return dn_layer_fail(layer, network, "dropblock=1 is not supported");
    return dn_set_output(layer, network, in->c, in->h, in->w);
}

dn_dropout dn_dropout_of(const dn_layer *layer, const dn_pass *pass)
{
    const dn_dropout_options *o = layer->options;
    return (dn_dropout){pass->seed, (uint64_t)pass->iteration, layer->index, o->probability};
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    float *out = layer->out.data;                     /* the same */
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    if (!pass->training) {
        memcpy(out, in, (size_t)count * sizeof *out);
        return DN_OK;
    }
    const dn_dropout mask = dn_dropout_of(layer, pass);
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t i = 0; i < count; i++) out[i] = in[i] * dn_dropout_factor(&mask, i);
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    float *in_grad = dn_input(layer, pass, 0)->grad; /* (n, c, h, w) */
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
    const dn_dropout mask = dn_dropout_of(layer, pass);
    if (!in_grad) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t i = 0; i < count; i++)
        in_grad[i] += layer->out.grad[i] * dn_dropout_factor(&mask, i);
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_dropout_options *o = layer->options;
    const long long count = dn_tensor_size(&layer->out);
    (void)network;
    snprintf(text, size, "dropout       p = %.2f               %4lld  ->  %4lld",
             (double)o->probability, count, count);
}

const dn_layer_type dn_dropout_layer = {
    .name = "dropout",
    .options_size = sizeof(dn_dropout_options),
    .options = options,
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
