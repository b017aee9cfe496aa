/* [reorg]: fewer pixels, more channels, as YOLOv2 has it.
 *
 * The mapping is Darknet's famous one: element `at` of the output, in memory order, is found as if
 * the *input's* channels, height and width were those of the deep map, so the values end up where
 * no space-to-depth would put them. YOLOv2's weights depend on it. [reorg3d] is the true one.
 */
#include "layers/reorg.h"

#include "core/network.h"

#include <stdio.h>

#define S dn_reorg_options
static const dn_option options[] = {
    DN_INT(S, stride, "stride", 1, 1, 1024, "width and height shrink by it"),
    DN_FLAG(S, reverse, "reverse", 0, "the other way: more pixels, fewer channels"),
    DN_FLAG(S, flatten, "flatten", 0, "accepted only as 0"),
    DN_INT(S, extra, "extra", 0, 0, 1 << 30, "accepted only as 0"),
    DN_OPTIONS_END,
};
#undef S

dn_status dn_reorg_set_output(dn_layer *layer, const dn_network *network)
{
    const dn_reorg_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    const int32_t s = o->stride, area = s * s;
    if (o->reverse) {
        if (in->c % area != 0)
            return dn_layer_fail(layer, network, "stride=%d: %d channels are no multiple of %d", s,
                                 in->c, area);
        return dn_set_output(layer, network, in->c / area, (int64_t)in->h * s, (int64_t)in->w * s);
    }
    if (in->h % s != 0 || in->w % s != 0)
        return dn_layer_fail(layer, network, "stride=%d does not divide %d x %d", s, in->w, in->h);
    return dn_set_output(layer, network, (int64_t)in->c * area, in->h / s, in->w / s);
}

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_reorg_options *o = layer->options;
    dn_reorg *state = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    if (o->flatten || o->extra)
        return dn_layer_fail(layer, network, "flatten and extra are not supported");
    if (in->c % (o->stride * o->stride) != 0)
        return dn_layer_fail(layer, network, "stride=%d: %d channels are no multiple of %d",
                             o->stride, in->c, o->stride * o->stride);
    state->geometry = (dn_reorg_geometry){in->c, in->h, in->w, o->stride};
    state->to_large = o->reverse;
    return dn_reorg_set_output(layer, network);
}

dn_status dn_reorg_forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_reorg *state = layer->state;
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    const int64_t size = dn_tensor_size(&layer->out);
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t element = 0; element < dn_live(layer, pass) * size; element++) {
        const int64_t at = element % size, image = element - at;
        const int64_t source = image + dn_reorg_source(&state->geometry, at);
        if (state->to_large)
            layer->out.data[source] = in[element];
        else
            layer->out.data[element] = in[source];
    }
    return DN_OK;
}

dn_status dn_reorg_backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_reorg *state = layer->state;
    float *in_grad = dn_input(layer, pass, 0)->grad; /* (n, c, h, w) */
    const int64_t size = dn_tensor_size(&layer->out);
    if (!in_grad) return DN_OK;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t element = 0; element < dn_live(layer, pass) * size; element++) {
        const int64_t at = element % size, image = element - at;
        const int64_t source = image + dn_reorg_source(&state->geometry, at);
        if (state->to_large)
            in_grad[element] += layer->out.grad[source];
        else
            in_grad[source] += layer->out.grad[element];
    }
    return DN_OK;
}

void dn_reorg_describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_reorg_options *o = layer->options;
    const dn_tensor *in = dn_input_shape(layer, network, 0), *out = &layer->out;
    snprintf(text, size, "%-7s             /%2d  %4d x%4d x%4d   ->  %4d x%4d x%4d",
             layer->type->name, o->stride, in->w, in->h, in->c, out->w, out->h, out->c);
}

const dn_layer_type dn_reorg_layer = {
    .name = "reorg",
    .options_size = sizeof(dn_reorg_options),
    .options = options,
    .state_size = sizeof(dn_reorg),
    .setup = setup,
    .cpu = {dn_reorg_forward, dn_reorg_backward},
    .describe = dn_reorg_describe,
};
