/* [avgpool]: the mean of each channel over the whole image. */
#include "core/layer.h"
#include "core/network.h"
#include "math/pool.h"

#include <stdio.h>

static dn_status setup(dn_layer *layer, dn_network *network)
{
    return dn_set_output(layer, network, dn_input_shape(layer, network, 0)->c, 1, 1);
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t plane = (int64_t)in->h * in->w;
    const int64_t planes = (int64_t)dn_live(layer, pass) * in->c;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t row = 0; row < planes; row++) {
        double sum = 0; /* a float would lose digits on large maps */
        for (int64_t i = 0; i < plane; i++) sum += (double)in->data[row * plane + i];
        layer->out.data[row] = dn_mean_of(sum, plane);
    }
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_tensor *in = dn_input(layer, pass, 0);
    const int64_t plane = (int64_t)in->h * in->w;
    const int64_t planes = (int64_t)dn_live(layer, pass) * in->c;
    if (!in->grad) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t row = 0; row < planes; row++) {
        const float share = dn_mean_share(layer->out.grad[row], plane);
        for (int64_t i = 0; i < plane; i++) in->grad[row * plane + i] += share;
    }
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    snprintf(text, size, "avg                     %4d x%4d x%4d   ->  %4d", in->w, in->h, in->c,
             layer->out.c);
}

const dn_layer_type dn_avgpool_layer = {
    .name = "avgpool",
    .aliases = {"avg"},
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
