/* [logistic]: p = 1 / (1 + e^-x) of every value; where there is truth (dn_truth.values), the loss
 * is the binary cross-entropy summed over an image, taken on x so that it stays finite, and
 * backward adds its gradient, p - t, to what comes from behind. */
#include "math/logistic.h"
#include "core/layer.h"
#include "core/network.h"
#include "math/activation.h"

#include <stdio.h>

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    layer->has_loss = !layer->rois;
    return dn_set_output(layer, network, in->c, in->h, in->w);
}

static const float *truth_of(const dn_layer *layer, const dn_pass *pass, int32_t image)
{
    return layer->has_loss && pass->truth ? pass->truth[image].values : NULL;
}

static void find_loss(dn_layer *layer, const dn_pass *pass)
{
    const int64_t size = dn_tensor_size(&layer->out);
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    double sum = 0;
    for (int32_t image = 0; image < pass->batch; image++) {
        const float *truth = truth_of(layer, pass, image);
        for (int64_t i = 0; truth && i < size; i++)
            sum += (double)dn_logistic_loss(in[image * size + i], truth[i]);
    }
    layer->loss = sum / pass->batch;
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    const int64_t count = dn_live(layer, pass) * dn_tensor_size(&layer->out);
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t i = 0; i < count; i++) layer->out.data[i] = dn_logistic(in[i]);
    if (pass->training && layer->has_loss) find_loss(layer, pass);
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    float *in_grad = dn_input(layer, pass, 0)->grad; /* (n, c, h, w) */
    const int64_t size = dn_tensor_size(&layer->out);
    if (!in_grad) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int32_t image = 0; image < dn_live(layer, pass); image++) {
        const float *truth = truth_of(layer, pass, image);
        for (int64_t i = 0; i < size; i++) {
            const int64_t at = image * size + i;
            const float p = layer->out.data[at];
            in_grad[at] += layer->out.grad[at] * p * (1.0f - p);
            if (truth) in_grad[at] += pass->network->loss_scale * (p - truth[i]);
        }
    }
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    (void)network;
    snprintf(text, size, "logistic x entropy                             %4lld",
             (long long)dn_tensor_size(&layer->out));
}

const dn_layer_type dn_logistic_layer = {
    .name = "logistic",
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
