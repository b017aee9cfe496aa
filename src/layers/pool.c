/* Options and geometry of pooling windows: see pool.h. */
#include "layers/pool.h"

#include "core/network.h"

#include <stdio.h>

#define S dn_pool_options
const dn_option dn_pool_option_table[] = {
    DN_INT(S, stride, "stride", 1, 1, 65536, "step in both directions"),
    DN_INT(S, stride_x, "stride_x", 0, 0, 65536, "horizontal step; 0: stride"),
    DN_INT(S, stride_y, "stride_y", 0, 0, 65536, "vertical step; 0: stride"),
    DN_INT(S, size, "size", 0, 0, 65536, "window width and height; 0: stride"),
    DN_INT(S, padding, "padding", -1, -1, 65536, "of both sides together; -1: size - 1"),
    DN_OPTIONS_END,
};
#undef S

dn_status dn_pool_setup(dn_layer *layer, dn_network *network)
{
    const dn_pool_options *o = layer->options;
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

void dn_pool_describe(const dn_layer *layer, const dn_network *network, const char *word,
                      char *text, size_t size)
{
    const dn_pool_geometry *g = layer->state;
    const dn_tensor *in = dn_input_shape(layer, network, 0), *out = &layer->out;
    snprintf(text, size, "%s         %2d x%2d /%2d  %4d x%4d x%4d   ->  %4d x%4d x%4d", word,
             g->size, g->size, g->stride_x, in->w, in->h, in->c, out->w, out->h, out->c);
}
