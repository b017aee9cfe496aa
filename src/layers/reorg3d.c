/* [reorg3d]: space to depth. Output channel (dy * stride + dx) * c + k at (y, x) is input channel k
 * at (y * stride + dy, x * stride + dx); reverse is the inverse. */
#include "core/network.h"
#include "layers/reorg.h"

#define S dn_reorg_options
static const dn_option options[] = {
    DN_INT(S, stride, "stride", 1, 1, 1024, "width and height shrink by it"),
    DN_FLAG(S, reverse, "reverse", 0, "the inverse: more pixels, fewer channels"),
    DN_OPTIONS_END,
};
#undef S

static dn_status setup(dn_layer *layer, dn_network *network)
{
    const dn_reorg_options *o = layer->options;
    dn_reorg *state = layer->state;
    DN_TRY(dn_reorg_set_output(layer, network));
    const dn_tensor *deep = o->reverse ? dn_input_shape(layer, network, 0) : &layer->out;
    state->geometry = (dn_reorg_geometry){deep->c, deep->h, deep->w, o->stride};
    state->to_large = o->reverse;
    return DN_OK;
}

const dn_layer_type dn_reorg3d_layer = {
    .name = "reorg3d",
    .options_size = sizeof(dn_reorg_options),
    .options = options,
    .state_size = sizeof(dn_reorg),
    .setup = setup,
    .cpu = {dn_reorg_forward, dn_reorg_backward},
    .describe = dn_reorg_describe,
};
