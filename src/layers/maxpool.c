/* [maxpool]: the maximum of each window.
 *
 * padding is the total of both sides (default size - 1), the window of output i starts at
 * i * stride - padding / 2, samples outside do not count: Darknet's asymmetric rule, so that
 * size=2 stride=1 keeps the size. Backward adds the gradient to the first maximum in row-major
 * order of the window, which is found again there: nothing is saved.
 */
#include "math/maxpool.h"
#include "core/layer.h"
#include "core/network.h"

#include <stdio.h>

typedef struct dn_maxpool_options {
    int32_t size, stride, stride_x, stride_y, padding;
} dn_maxpool_options;

#define S dn_maxpool_options
static const dn_option options[] = {
    DN_INT(S, stride, "stride", 1, 1, 65536, "step in both directions"),
    DN_INT(S, stride_x, "stride_x", 0, 0, 65536, "horizontal step; 0: stride"),
    DN_INT(S, stride_y, "stride_y", 0, 0, 65536, "vertical step; 0: stride"),
    DN_INT(S, size, "size", 0, 0, 65536, "window width and height; 0: stride"),
    DN_INT(S, padding, "padding", -1, -1, 65536, "of both sides together; -1: size - 1"),
    DN_OPTIONS_END,
};
#undef S

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_maxpool_options *o = layer->options;
    dn_pool_geometry *g = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0);
    g->h = in->h;
    g->w = in->w;
    g->size = o->size ? o->size : o->stride;
    g->stride_x = o->stride_x ? o->stride_x : o->stride;
    g->stride_y = o->stride_y ? o->stride_y : o->stride;
    const int32_t padding = o->padding < 0 ? g->size - 1 : o->padding;
    g->before = padding / 2;
    if (in->w + padding < g->size || in->h + padding < g->size)
        return dn_layer_fail(layer, network, "a window of %d does not fit into %d x %d", g->size,
                             in->w, in->h);
    g->out_w = (in->w + padding - g->size) / g->stride_x + 1;
    g->out_h = (in->h + padding - g->size) / g->stride_y + 1;
    return dn_set_output(layer, network, in->c, g->out_h, g->out_w);
}

static dn_status forward(dn_layer *layer, const dn_pass *pass)
{
    const dn_pool_geometry *g = layer->state;
    const float *in = dn_input(layer, pass, 0)->data; /* (n, c, h, w) */
    float *out = layer->out.data;                     /* (n, c, out_h, out_w) */
    const int64_t planes = (int64_t)dn_live(layer, pass) * layer->out.c;
    const int64_t plane_in = (int64_t)g->h * g->w, plane_out = (int64_t)g->out_h * g->out_w;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t plane = 0; plane < planes; plane++)
        for (int32_t y = 0; y < g->out_h; y++)
            for (int32_t x = 0; x < g->out_w; x++)
                out[plane * plane_out + y * g->out_w + x] =
                    dn_maxpool_max(g, in + plane * plane_in, y, x);
    return DN_OK;
}

static dn_status backward(dn_layer *layer, const dn_pass *pass)
{
    const dn_pool_geometry *g = layer->state;
    const dn_tensor *in = dn_input(layer, pass, 0);
    if (!in->grad) return DN_OK;
    const int64_t planes = (int64_t)dn_live(layer, pass) * layer->out.c;
    const int64_t plane_in = (int64_t)g->h * g->w, plane_out = (int64_t)g->out_h * g->out_w;
#pragma omp parallel for num_threads(pass->threads)
    for (int64_t plane = 0; plane < planes; plane++)
        for (int32_t y = 0; y < g->out_h; y++)
            for (int32_t x = 0; x < g->out_w; x++) {
                const int32_t at = dn_maxpool_argmax(g, in->data + plane * plane_in, y, x);
                if (at >= 0)
                    in->grad[plane * plane_in + at] +=
                        layer->out.grad[plane * plane_out + y * g->out_w + x];
            }
    return DN_OK;
}

static void describe(const dn_layer *layer, const dn_network *network, char *text, size_t size)
{
    const dn_pool_geometry *g = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0), *out = &layer->out;
    snprintf(text, size, "max         %2d x%2d /%2d  %4d x%4d x%4d   ->  %4d x%4d x%4d", g->size,
             g->size, g->stride_x, in->w, in->h, in->c, out->w, out->h, out->c);
}

const dn_layer_type dn_maxpool_layer = {
    .name = "maxpool",
    .aliases = {"max"},
    .options_size = sizeof(dn_maxpool_options),
    .options = options,
    .state_size = sizeof(dn_pool_geometry),
    .setup = setup,
    .cpu = {forward, backward},
    .describe = describe,
};
