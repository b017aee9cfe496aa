/* [softmax]: softmax of each group of values, with the cross-entropy as loss.
 *
 * The values of an image are cut into `groups` equal runs, or, with spatial=1, the channels of each
 * pixel are. Where there is truth (dn_truth.values) and not noloss, the loss is -sum t ln p, and
 * backward adds its gradient at the input, (p - t) / temperature, to what comes from behind.
 */
#include "math/softmax.h"
#include "core/layer.h"
#include "core/network.h"

#include <stdio.h>

typedef struct dn_softmax_options {
    int32_t groups;
    float temperature;
    bool spatial, noloss;
    const char *tree;
} dn_softmax_options;

#define S dn_softmax_options
static const dn_option options[] = {
    DN_INT(S, groups, "groups", 1, 1, 1 << 24, "equal groups of values"),
    DN_FLOAT(S, temperature, "temperature", 1, 1e-6, 1e6, "divides the values"),
    DN_FLAG(S, spatial, "spatial", 0, "1: over the channels of each pixel"),
    DN_FLAG(S, noloss, "noloss", 0, "1: no cross-entropy here"),
    DN_TEXT(S, tree, "tree", "not supported"),
    DN_OPTIONS_END,
};
#undef S

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_softmax_options *o = layer->options;
    dn_softmax_geometry *g = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    const int64_t values = o->spatial ? in->c : dn_tensor_size(in);
    if (o->tree) return dn_layer_fail(layer, network, "tree=%s is not supported", o->tree);
    if (values % o->groups != 0 || values > INT32_MAX)
        return dn_layer_fail(layer, network, "groups=%d does not divide %lld values", o->groups,
                             (long long)values);
    g->count = (int32_t)(values / o->groups);
    g->step = o->spatial ? (int64_t)in->h * in->w : 1;
    g->vectors = o->groups * g->step;
    g->temperature = o->temperature;
    layer->has_loss = !o->noloss && !layer->rois;
    return dn_set_output(layer, network, in->c, in->h, in->w);
}

static const float *truth_of(const dn_layer *layer, const dn_pass *pass, int64_t image)
{
    return layer->has_loss && pass->truth ? pass->truth[image].values : NULL;
}

static void find_loss(dn_layer *layer, const dn_pass *pass)
{
    const int64_t size = dn_tensor_size(&layer->out);
    double sum = 0;
    for (int32_t image = 0; image < pass->batch; image++) {
        const float *truth = truth_of(layer, pass, image);
        const float *out = layer->out.data + image * size;
        for (int64_t i = 0; truth && i < size; i++) sum += dn_softmax_loss(out[i], truth[i]);
    }
    layer->loss = sum / pass->batch;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_softmax_geometry *g = layer->state;
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    const int64_t size = dn_tensor_size(&layer->out);
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t i = 0; i < dn_live(layer, pass) * g->vectors; i++) {
        const int64_t at = i / g->vectors * size + dn_softmax_start(g, i % g->vectors);
        dn_softmax(g, in + at, layer->out.data + at);
    }
    if (pass->training && layer->has_loss) find_loss(layer, pass);
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_softmax_geometry *g = layer->state;
    float *in_grad = dn_input(layer, pass, 0)->grad; /* (n, c, h, w) */
    const int64_t size = dn_tensor_size(&layer->out);
    if (!in_grad) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t i = 0; i < dn_live(layer, pass) * g->vectors; i++) {
        const int64_t image = i / g->vectors, start = dn_softmax_start(g, i % g->vectors);
        const int64_t at = image * size + start;
        const float *truth = truth_of(layer, pass, image);
        dn_softmax_backward(g, layer->out.data + at, layer->out.grad + at, in_grad + at);
        if (truth)
            dn_softmax_loss_backward(g, layer->out.data + at, truth + start,
                                     pass->network->loss_scale, in_grad + at);
    }
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    (void)network;
    snprintf(text, size, "softmax                                        %4lld",
             (long long)dn_tensor_size(&layer->out));
}

const dn_layer_type dn_softmax_layer = {
    .name = "softmax",
    .aliases = {"soft"},
    .options_size = sizeof(dn_softmax_options),
    .options = options,
    .state_size = sizeof(dn_softmax_geometry),
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
